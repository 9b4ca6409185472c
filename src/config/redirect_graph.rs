//! Chains of redirects, as far as they can be followed without looking at files.

use super::clean_urls::clean_form;
use super::hidden_names::has_hidden_segment;
use super::pattern_list::PatternList;
use super::rules::Redirect;
use super::target_template::UriTemplate;

/// The number of redirects that a browser follows before it gives up.
const HOPS_MAX: usize = 20;

/// The redirects of one site. Pages that `clean_urls` would redirect are assumed to exist.
#[derive(Debug)]
pub struct RedirectGraph {
    patterns: PatternList,
    /// The text of each pattern.
    froms: Vec<String>,
    /// The target of each redirect; `None` if the path is withdrawn.
    targets: Vec<Option<UriTemplate>>,
    /// `None` if `clean_urls` is off.
    clean_urls: Option<CleanUrls>,
}

/// The settings of a site that the redirects of `clean_urls` depend on.
#[derive(Debug)]
pub(super) struct CleanUrls {
    /// The names of index files.
    pub(super) index: Vec<String>,
    /// Whether files whose names begin with a dot are served.
    pub(super) shows_hidden: bool,
}

impl RedirectGraph {
    /// The graph of `redirects`, and of `clean_urls` if that is on.
    #[must_use]
    pub(super) fn new(redirects: &[Redirect], clean_urls: Option<CleanUrls>) -> RedirectGraph {
        RedirectGraph {
            patterns: PatternList::new(redirects.iter().map(|rule| &rule.from)),
            froms: redirects.iter().map(|rule| rule.from.to_string()).collect(),
            targets: redirects.iter().map(|rule| rule.to.clone()).collect(),
            clean_urls,
        }
    }

    /// Whether a chain of redirects leads from `start`, decoded and normalised, to `end`.
    #[must_use]
    pub fn leads(&self, start: &[u8], end: &[u8]) -> bool {
        let chain = std::iter::successors(self.next(start), |path| self.next(path));
        chain.take(HOPS_MAX).any(|path| path == end)
    }

    /// The index of the first redirect that leads into a loop.
    ///
    /// The search begins at example paths of each rule, in which every star of the pattern stands for a
    /// character that occurs in no rule, or for nothing. A chain of more than [`HOPS_MAX`] redirects counts
    /// as a loop. Loops that only particular names lead into are not found; a browser ends those itself.
    pub(super) fn find_loop(&self) -> Option<usize> {
        let is_endless = |asked: &Vec<u8>| {
            let chain = std::iter::successors(self.next(asked), |path| self.next(path));
            chain.take(HOPS_MAX + 1).count() > HOPS_MAX
        };
        (0..self.froms.len()).find(|&index| {
            let asked = examples(&self.froms[index]).into_iter();
            asked
                .filter(|path| matches!(self.patterns.find(path), Some((at, _)) if at == index))
                .any(|path| is_endless(&path))
        })
    }

    /// The path of this site to which `path` is redirected; `None` if the chain ends at `path`: no redirect
    /// applies, the document is withdrawn, or the target is on another site or is a path that the server
    /// refuses.
    fn next(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some((index, captures)) = self.patterns.find(path) {
            return self.targets.get(index)?.as_ref()?.local_path(&captures);
        }
        let clean_urls = self.clean_urls.as_ref()?;
        let is_hidden = !clean_urls.shows_hidden && has_hidden_segment(path);
        let clean = clean_form(path, &clean_urls.index).filter(|_| !is_hidden);
        clean.map(<[u8]>::to_vec)
    }
}

/// Paths that the pattern `from` matches.
fn examples(from: &str) -> Vec<Vec<u8>> {
    let narrow = from.replace("**", "*");
    let parts: Vec<&str> = narrow.split('*').collect();
    // At most nine stars: see STARS_MAX.
    let choices = 0..1_u32 << (parts.len() - 1);
    let example = |choice: u32| {
        let mut path = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 && choice >> (number - 1) & 1 == 0 {
                path.push(b'\x01');
            }
            path.extend_from_slice(part.as_bytes());
        }
        path.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
        path
    };
    choices.map(example).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pattern::Pattern;

    fn redirects(rules: &[(&str, &str)]) -> Vec<Redirect> {
        let redirect = |(from, to): &(&str, &str)| {
            let from: Pattern = from.parse().unwrap();
            Redirect {
                to: Some(UriTemplate::parse(to, from.stars()).unwrap()),
                from,
                status: 301,
            }
        };
        rules.iter().map(redirect).collect()
    }

    fn clean_urls(shows_hidden: bool) -> CleanUrls {
        CleanUrls {
            index: vec!["index.html".to_owned()],
            shows_hidden,
        }
    }

    fn graph(rules: &[(&str, &str)], has_clean_urls: bool) -> RedirectGraph {
        let clean_urls = has_clean_urls.then(|| clean_urls(false));
        RedirectGraph::new(&redirects(rules), clean_urls)
    }

    #[test]
    fn a_rule_that_leads_to_itself_is_found() {
        for rules in [
            &[("/a", "/a")][..],
            &[("/a", "/a?again#here")],
            &[("/a b", "/a%20b")],
            &[("/**", "/index.html")],
            &[("/old/**", "/old/new/$1")],
            // A star may match nothing.
            &[("/*", "/$1/")],
            &[("/**/", "/$1")],
            &[("/*/*", "/$1/$2/")],
            &[("/x*", "/$1x")],
            &[("/*/x", "/y/x")],
            &[("/ok", "/fine"), ("/a", "/b"), ("/b", "/c"), ("/c", "/a")],
            &[("/x/**", "/y/$1"), ("/y/**", "/x/$1")],
        ] {
            let index = graph(rules, false).find_loop();
            assert!(index.is_some(), "{rules:?}");
            assert_ne!(rules[index.unwrap()].0, "/ok");
        }
    }

    #[test]
    fn a_rule_that_comes_to_an_end_is_accepted() {
        for rules in [
            &[][..],
            &[("/a", "/b"), ("/b", "/c")],
            &[("/a/**", "/b/$1")],
            &[("/**", "https://other.example/$1")],
            &[("/a/*/**", "/a/$2")],
            // The first rule that matches applies.
            &[
                ("/docs/v2/**", "https://v2.example/$1"),
                ("/docs/**", "/docs/v2/$1"),
            ],
        ] {
            assert_eq!(graph(rules, false).find_loop(), None, "{rules:?}");
        }
    }

    #[test]
    fn a_path_that_is_withdrawn_ends_a_loop() {
        let mut rules = redirects(&[("/a", "/b"), ("/b", "/a")]);
        assert!(RedirectGraph::new(&rules, None).find_loop().is_some());
        rules[1].to = None;
        rules[1].status = 410;
        assert_eq!(RedirectGraph::new(&rules, None).find_loop(), None);
    }

    #[test]
    fn clean_urls_take_part_in_a_loop() {
        for rules in [
            &[("/about", "/about.html")][..],
            &[("/", "/index.html")],
            &[("/", "/index")],
            &[("/guide/", "/guide/index.html?from=directory")],
            &[("/*/", "/$1/index.html")],
            &[("/a", "/b.html"), ("/b", "/a.html")],
        ] {
            assert_eq!(graph(rules, false).find_loop(), None, "{rules:?}");
            assert!(graph(rules, true).find_loop().is_some(), "{rules:?}");
        }
        for rules in [
            &[("/about.html", "/about")][..],
            &[("/", "/home.html")],
            &[("/index.html", "/index.htm")],
        ] {
            assert_eq!(graph(rules, true).find_loop(), None, "{rules:?}");
        }
    }

    #[test]
    fn clean_urls_redirect_a_hidden_page_only_if_it_is_served() {
        for (from, to, loops_if_hidden, loops_if_shown) in [
            ("/.foo", "/.foo.html", false, true),
            ("/a/.foo/b", "/a/.foo/b.html", false, true),
            ("/.well-known/a", "/.well-known/a.html", true, true),
            ("/.well-known/.a", "/.well-known/.a.html", false, true),
            ("/.well-known", "/.well-known.html", false, true),
        ] {
            for (shows_hidden, loops) in [(false, loops_if_hidden), (true, loops_if_shown)] {
                let rules = redirects(&[(from, to)]);
                let graph = RedirectGraph::new(&rules, Some(clean_urls(shows_hidden)));
                assert_eq!(graph.find_loop().is_some(), loops, "{from}, {shows_hidden}");
            }
        }
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let graph = graph(&[("/a/", "/a"), ("/b", "/c.html"), ("/c", "/d")], true);
        for (start, end, expected) in [
            ("/a/", "/a", true),
            ("/a", "/a", false),
            ("/b", "/c", true),
            ("/b", "/d", true),
            ("/d", "/b", false),
        ] {
            let leads = graph.leads(start.as_bytes(), end.as_bytes());
            assert_eq!(leads, expected, "{start} to {end}");
        }
    }
}
