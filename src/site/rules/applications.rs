//! Single-page applications: which of them serves a path that has no file.

use crate::config::SinglePageApp;

/// The applications of one site, in order.
#[derive(Debug)]
pub struct Applications {
    all: Box<[SinglePageApp]>,
}

impl Applications {
    /// Keeps `applications` in their order; `None` if there are none.
    #[must_use]
    pub fn new(applications: &[SinglePageApp]) -> Option<Applications> {
        (!applications.is_empty()).then(|| Applications {
            all: applications.into(),
        })
    }

    /// The page of the first application that covers `path`. Both are decoded and normalised.
    #[must_use]
    pub fn page(&self, path: &[u8]) -> Option<&[u8]> {
        let first = self.all.iter().find(|one| one.is_for(path))?;
        Some(first.page.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(path: &str, page: &str, except: &[&str]) -> SinglePageApp {
        SinglePageApp {
            path: path.parse().unwrap(),
            page: page.to_owned(),
            except: except.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_first_application_for_a_path_counts() {
        assert!(Applications::new(&[]).is_none());
        let applications = Applications::new(&[
            application("/app/**", "/app/index.html", &["/app/api/**"]),
            application("/app/api/docs/**", "/docs.html", &[]),
            application("/**", "/index.html", &["/app/**"]),
        ])
        .unwrap();
        for (path, page) in [
            ("/app/orders", Some("/app/index.html")),
            ("/app/api/orders", None),
            ("/app/api/docs/x", Some("/docs.html")),
            ("/app", Some("/index.html")),
            ("/", Some("/index.html")),
        ] {
            let found = applications.page(path.as_bytes());
            assert_eq!(found, page.map(str::as_bytes), "{path}");
        }
    }
}
