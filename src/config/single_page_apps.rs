//! `spa`: single-page applications, whose page interprets the addresses below it.
//!
//! The key has two forms, of which TOML allows one in a table. The string `spa = "/app.html"` sets the
//! page for every path. Each `[[spa]]` table sets a page for some paths.

use super::pattern::Pattern;

/// A single-page application. Its page is sent, with 200, if a browser asks for a page that does not
/// exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinglePageApp {
    /// The paths of the application.
    pub path: Pattern,
    /// The path of the page.
    pub page: String,
    /// Exceptions: paths that match `path` and do not belong to the application.
    pub except: Vec<Pattern>,
}

impl SinglePageApp {
    /// An application for every path, with the page at `page`.
    #[must_use]
    pub fn everywhere(page: impl Into<String>) -> SinglePageApp {
        SinglePageApp {
            path: Pattern::everything(),
            page: page.into(),
            except: Vec::new(),
        }
    }

    /// Whether `path`, decoded and normalised, belongs to the application.
    #[must_use]
    pub fn is_for(&self, path: &[u8]) -> bool {
        self.path.is_match(path) && !self.except.iter().any(|except| except.is_match(path))
    }
}

/// The string form of `applications`; `None` if they need tables.
pub(super) fn as_text(applications: &[SinglePageApp]) -> Option<&str> {
    match applications {
        [] => Some(""),
        [only] if *only == SinglePageApp::everywhere(only.page.as_str()) => Some(&only.page),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_for_its_paths_but_for_the_exceptions() {
        let application = SinglePageApp {
            path: "/app/**".parse().unwrap(),
            page: "/app/index.html".to_owned(),
            except: vec![
                "/app/api/**".parse().unwrap(),
                "/app/*.txt".parse().unwrap(),
            ],
        };
        for (path, expected) in [
            ("/app/", true),
            ("/app/orders/7", true),
            ("/app/api", true),
            ("/app/api/", false),
            ("/app/api/orders", false),
            ("/app/robots.txt", false),
            ("/app", false),
            ("/", false),
        ] {
            assert_eq!(application.is_for(path.as_bytes()), expected, "{path}");
        }
        assert!(SinglePageApp::everywhere("/a.html").is_for(b"/\xff/x"));
    }

    #[test]
    fn only_one_page_for_everything_is_a_text() {
        let all = SinglePageApp::everywhere("/a.html");
        let some = SinglePageApp {
            except: vec!["/api/**".parse().unwrap()],
            ..all.clone()
        };
        assert_eq!(as_text(&[]), Some(""));
        assert_eq!(as_text(std::slice::from_ref(&all)), Some("/a.html"));
        assert_eq!(as_text(std::slice::from_ref(&some)), None);
        assert_eq!(as_text(&[some, all]), None);
    }
}
