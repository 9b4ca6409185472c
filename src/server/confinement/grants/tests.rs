use super::*;
use crate::config::ListenAddress;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::config::SiteConfig;

/// A directory for the paths of a test, and its path without links.
fn place() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = fs::canonicalize(place.path()).expect("its path");
    (place, path)
}

fn make(place: &Path, directories: &[&str]) {
    for directory in directories {
        fs::create_dir_all(place.join(directory)).expect("a directory");
    }
}

/// The settings of a server for `root`, which listens on no unix socket.
fn serving(root: &Path) -> Config {
    Config {
        site: SiteConfig::at(root),
        ..Config::default()
    }
}

/// The granted paths, relative to `place`, without the setting of the kernel.
fn granted(grants: &Grants, place: &Path) -> Vec<(Right, String)> {
    let own = grants
        .iter()
        .filter(|grant| grant.path != Path::new(HUGE_PAGES_SETTING));
    own.map(|grant| {
        let path = grant.path.strip_prefix(place).unwrap_or(&grant.path);
        (grant.right, path.display().to_string())
    })
    .collect()
}

fn to_read(paths: &[&str]) -> Vec<(Right, String)> {
    let paths = paths.iter().map(|path| (Right::Read, (*path).to_owned()));
    paths.collect()
}

#[test]
fn a_root_is_granted_by_the_directories_of_its_successors() {
    let (_place, path) = place();
    make(
        &path,
        &["site/releases/7/public", "store/7/public", "plain/www"],
    );
    symlink("releases/7", path.join("site/current")).expect("a link");
    symlink("../store/7", path.join("site/stored")).expect("a link");
    symlink(path.join("site/stored"), path.join("plain/twice")).expect("a link");
    for (root, expected) in [
        ("plain/www", &["plain"][..]),
        ("plain/www/", &["plain"]),
        ("plain/www/../www", &["plain"]),
        ("plain/www/..", &[""]),
        ("site/current", &["site"]),
        ("site/current/public", &["site/releases"]),
        ("site/stored", &["site", "store"]),
        ("site/stored/public", &["store"]),
        ("plain/twice", &["plain", "site", "store"]),
        ("plain/none", &[]),
    ] {
        let grants = Grants::of(&serving(&path.join(root)), None);
        assert_eq!(granted(&grants, &path), to_read(expected), "{root}");
    }
}

/// A root in `/` does not open `/`, except if it is that itself.
#[test]
fn the_top_directory_is_granted_only_as_a_root() {
    let nowhere = Path::new("/nowhere");
    for (root, expected) in [("/usr", "/usr"), ("/usr/..", "/")] {
        let grants = Grants::of(&serving(Path::new(root)), None);
        let paths: Vec<&Path> = grants.iter().map(|grant| grant.path.as_path()).collect();
        // A rule for `/` covers the setting of the kernel.
        let setting = Path::new(HUGE_PAGES_SETTING);
        let others: Vec<_> = paths.into_iter().filter(|path| *path != setting).collect();
        assert_eq!(others, [Path::new(expected)], "{root}");
        assert!(!grants.allows_root(nowhere));
        assert!(grants.allows_root(Path::new("/usr/lib")));
        assert_eq!(grants.allows_root(Path::new("/proc")), expected == "/");
    }
}

#[test]
fn links_that_may_lead_anywhere_need_every_file() {
    let (_place, path) = place();
    make(&path, &["www"]);
    let mut config = serving(&path.join("www"));
    config.site.symlinks = SymlinkPolicy::Anywhere;
    let grants = Grants::of(&config, None);
    assert_eq!(granted(&grants, &path), to_read(&["/"]));
}

/// Kubernetes replaces the files of a ConfigMap by switching `..data`.
#[test]
fn a_configuration_is_granted_by_its_directories() {
    let (_place, path) = place();
    make(&path, &["site/www", "etc/..1", "conf"]);
    symlink("..1", path.join("etc/..data")).expect("a link");
    symlink("..data/abide.toml", path.join("etc/abide.toml")).expect("a link");
    symlink("../etc/abide.toml", path.join("conf/linked.toml")).expect("a link");
    fs::write(path.join("etc/..1/abide.toml"), "").expect("a file");
    for (file, expected) in [
        ("etc/abide.toml", &["etc", "site"][..]),
        ("conf/linked.toml", &["conf", "etc", "site"]),
        ("etc/none.toml", &["site"]),
    ] {
        let grants = Grants::of(&serving(&path.join("site/www")), Some(&path.join(file)));
        assert_eq!(granted(&grants, &path), to_read(expected), "{file}");
    }
}

/// certbot replaces the links in `live/NAME`, and adds the numbered files of `archive/NAME`.
#[test]
fn a_certificate_is_granted_by_the_directories_of_its_renewals() {
    let (_place, path) = place();
    make(
        &path,
        &["site/www", "cert/archive/a", "cert/live/a", "cert/live/b"],
    );
    for name in ["chain", "key"] {
        fs::write(path.join(format!("cert/archive/a/{name}1.pem")), "").expect("a file");
        let target = format!("../../archive/a/{name}1.pem");
        symlink(target, path.join(format!("cert/live/a/{name}.pem"))).expect("a link");
        fs::write(path.join(format!("cert/live/b/{name}.pem")), "").expect("a file");
    }
    symlink("a", path.join("cert/live/current")).expect("a link");
    for (lineage, expected) in [
        (
            "cert/live/a",
            &["cert/archive/a", "cert/live/a", "site"][..],
        ),
        ("cert/live/b", &["cert/live/b", "site"]),
        // The link may lead to another lineage.
        (
            "cert/live/current",
            &["cert/archive/a", "cert/live", "site"],
        ),
        ("cert/live/none", &["site"]),
    ] {
        let mut config = serving(&path.join("site/www"));
        config.site.certificate = Some(path.join(lineage).join("chain.pem"));
        config.site.key = Some(path.join(lineage).join("key.pem"));
        let grants = Grants::of(&config, None);
        assert_eq!(granted(&grants, &path), to_read(expected), "{lineage}");
    }
}

#[test]
fn only_a_file_with_a_name_of_its_own_can_be_read_again() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(is_lasting_file(file.path()));
    for path in [
        "/dev/stdin",
        "/dev/null",
        "/proc/self/fd/0",
        "/tmp",
        "/nowhere",
    ] {
        assert!(!is_lasting_file(Path::new(path)), "{path}");
    }
}

#[test]
fn logs_and_sockets_are_granted_by_their_directories() {
    let (_place, path) = place();
    make(&path, &["site/www", "log", "run"]);
    symlink("log", path.join("logs")).expect("a link");
    for (log, expected) in [
        (path.join("log/access.log"), Some("log")),
        (path.join("logs/access.log"), Some("log")),
        (path.join("none/access.log"), None),
        (PathBuf::from("/dev/null"), Some("/dev/null")),
        (PathBuf::from("/dev/stdout"), None),
        (PathBuf::from("/dev/stderr"), None),
    ] {
        let mut config = serving(&path.join("site/www"));
        config.listen = vec![ListenAddress::unix(path.join("run/abide.sock"))];
        config.access_log.target = Some(AccessLogTarget::File(log.clone()));
        let grants = Grants::of(&config, None);
        let mut all = to_read(&["site"]);
        all.extend(expected.map(|path| (Right::WriteLog, path.to_owned())));
        all.push((Right::HoldSocket, "run".to_owned()));
        assert_eq!(granted(&grants, &path), all, "{log:?}");
        let is_own = log.starts_with("/dev");
        assert_eq!(
            grants.allows_log(&log),
            expected.is_some() || is_own,
            "{log:?}"
        );
        assert!(grants.allows_socket(&path.join("run/other.sock")));
        assert!(!grants.allows_socket(&path.join("log/other.sock")));
        assert!(!grants.allows_log(&path.join("run/access.log")));
    }
}

/// A rule binds a directory itself, so a new directory of the name is outside.
#[test]
fn a_new_root_is_allowed_below_a_granted_directory_only() {
    let (_place, path) = place();
    make(&path, &["site/www", "site/new", "other/www", "new/www"]);
    symlink("../other/www", path.join("site/link")).expect("a link");
    let grants = Grants::of(&serving(&path.join("site/www")), None);
    let allows = |root: &str| grants.allows_root(&path.join(root));
    assert!(allows("site/www") && allows("site/new") && allows("site"));
    assert!(allows("other/../site/new"));
    assert!(!allows("site/link") && !allows("other/www") && !allows("site/none"));
    assert!(!allows(""));
    fs::rename(path.join("site"), path.join("old")).expect("rename");
    fs::rename(path.join("new"), path.join("site")).expect("rename");
    assert!(allows("old/www") && !allows("site/www"));
}
