//! No file imports, directly or through others, a file that imports it.
//!
//! The check reads the text: paths that begin with `crate`, `super`, `self`, a module that the file
//! declares or one that it imports. A re-exported name belongs to the file that defines it, so a `mod.rs`
//! that declares its children and re-exports them is not part of a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Source;

/// A path of module names, from the root of the crate.
type Module = Vec<String>;

/// The imports of a file.
struct File {
    name: String,
    /// The names that `use` brings into it: the name here, and the path from the root.
    imports: BTreeMap<String, Module>,
    /// Names among them that it re-exports with `pub use`.
    reexported: BTreeSet<String>,
    /// Modules from which it imports all names.
    globs: Vec<Module>,
    /// Its code without `use` statements.
    code: String,
    children: BTreeSet<String>,
}

/// All files of the crate by module.
pub struct Files(BTreeMap<Module, File>);

impl Files {
    /// The files among `sources`, which are below `root`, except those for tests only.
    pub fn of(sources: &[Source], root: &Path) -> Files {
        let mut files = BTreeMap::new();
        let mut tests = Vec::new();
        for source in sources {
            let name = source.path.strip_prefix(root).expect("below the root");
            let name = name.display().to_string();
            let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
            let module = match path {
                "lib" => Module::new(),
                path => path.split('/').map(str::to_owned).collect(),
            };
            let file = File::read(source, name, &module, &mut tests);
            files.insert(module, file);
        }
        files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Files(files)
    }

    /// For each file, the files that it imports.
    fn imported(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut imported = BTreeMap::new();
        for (module, file) in &self.0 {
            let mut paths = file.inline_paths(module);
            // A re-exported name is an import only if the file uses it as well.
            let is_used = |name: &String| {
                !file.reexported.contains(name) || words(&file.code).any(|word| word == name)
            };
            let names = file.imports.iter().filter(|(name, _)| is_used(name));
            paths.extend(names.map(|(_, path)| path.clone()));
            paths.extend(file.globs.iter().cloned().map(|glob| joined(glob, &["*"])));
            let mut others: BTreeSet<_> = paths.iter().filter_map(|path| self.home(path)).collect();
            others.remove(file.name.as_str());
            imported.insert(file.name.as_str(), others);
        }
        imported
    }

    /// The file that defines the name `path`; `None` for a module itself, and for other crates.
    fn home(&self, path: &[String]) -> Option<&str> {
        let of_module = (0..path.len())
            .rev()
            .find(|len| self.0.contains_key(&path[..*len]))?;
        if self.0.contains_key(path) {
            return None;
        }
        let (file, rest) = (&self.0[&path[..of_module]], &path[of_module..]);
        match file.imports.get(&rest[0]) {
            // A re-exported name is defined elsewhere.
            Some(path) => self.home(&joined(path.clone(), &rest[1..])),
            None => Some(&file.name),
        }
    }

    /// Each circle with a file for which `is_held` is true, as the imports that form it.
    pub fn circles(&self, is_held: impl Fn(&str) -> bool) -> Vec<String> {
        let imported = self.imported();
        let below: BTreeMap<_, _> = imported
            .keys()
            .map(|file| (*file, reachable(file, &imported)))
            .collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &below {
            let ring: Vec<_> = reached
                .iter()
                .filter(|other| below[*other].contains(file))
                .collect();
            if !ring.iter().any(|other| is_held(other)) {
                continue;
            }
            let arrows = ring.iter().flat_map(|from| {
                let to = imported[**from].iter().filter(|to| ring.contains(to));
                to.map(move |to| format!("  src/{from} imports src/{to}"))
            });
            let arrows = arrows.collect::<Vec<_>>().join("\n");
            circles.insert(format!("{} files:\n{arrows}", ring.len()));
        }
        circles.into_iter().collect()
    }
}

impl File {
    /// Reads a file. Adds to `tests` the modules that it declares for tests only.
    fn read(source: &Source, name: String, module: &Module, tests: &mut Vec<Module>) -> File {
        let mut file = File {
            name,
            imports: BTreeMap::new(),
            reexported: BTreeSet::new(),
            globs: Vec::new(),
            code: String::new(),
            children: BTreeSet::new(),
        };
        let mut uses = Vec::new();
        let mut open: Option<(bool, String)> = None;
        let mut is_for_tests = false;
        for (_, line) in source.code() {
            let code = line.trim();
            let (is_public, item) = without_visibility(code);
            match (
                &mut open,
                item.strip_prefix("use "),
                item.strip_prefix("mod "),
            ) {
                (Some((_, statement)), ..) => statement.push_str(code),
                (None, Some(path), _) => open = Some((is_public, path.to_owned())),
                (None, None, Some(child)) if child.ends_with(';') => {
                    let child = child.trim_end_matches(';').to_owned();
                    if is_for_tests {
                        tests.push(joined(module.clone(), &[&child]));
                    }
                    file.children.insert(child);
                }
                _ => file.code.extend([code, "\n"]),
            }
            is_for_tests = code == "#[cfg(test)]";
            uses.extend(open.take_if(|(_, statement)| statement.ends_with(';')));
        }
        for (is_public, statement) in uses {
            expand("", statement.trim_end_matches(';'), &mut |path| {
                let (path, name) = path.split_once(" as ").unwrap_or((path, ""));
                let path: Vec<_> = path.trim_end_matches("::self").split("::").collect();
                let last = path[path.len() - 1];
                match file.absolute(&path, module) {
                    Some(path) if last == "*" => file.globs.push(path[..path.len() - 1].to_vec()),
                    Some(path) => {
                        let name = if name.is_empty() { last } else { name };
                        if is_public {
                            file.reexported.insert(name.to_owned());
                        }
                        file.imports.insert(name.to_owned(), path);
                    }
                    None => {}
                }
            });
        }
        file
    }

    /// `path` from the root; `None` if it begins with another crate.
    fn absolute(&self, path: &[&str], module: &Module) -> Option<Module> {
        let supers = path.iter().take_while(|name| **name == "super").count();
        let (base, rest) = match path[0] {
            "crate" => (Module::new(), &path[1..]),
            "super" => (module[..module.len() - supers].to_vec(), &path[supers..]),
            "self" => (module.clone(), &path[1..]),
            name if self.children.contains(name) => (module.clone(), path),
            name => (self.imports.get(name)?.clone(), &path[1..]),
        };
        Some(joined(base, rest))
    }

    /// The paths in its code.
    fn inline_paths(&self, module: &Module) -> Vec<Module> {
        let paths = words(&self.code).filter(|word| word.contains("::"));
        paths
            .filter_map(|word| self.absolute(&word.split("::").collect::<Vec<_>>(), module))
            .collect()
    }
}

/// Whether `code` begins with a visibility, and the code after it.
fn without_visibility(code: &str) -> (bool, &str) {
    let item = match code.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ").map(|(_, item)| item),
        None => code.strip_prefix("pub "),
    };
    (item.is_some(), item.unwrap_or(code))
}

/// Names and paths in `code`.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && !"_:".contains(character))
        .map(|word| word.trim_matches(':'))
        .filter(|word| !word.is_empty())
}

/// Calls `take` with each path of a `use` tree.
fn expand(prefix: &str, tree: &str, take: &mut impl FnMut(&str)) {
    let Some((before, inside)) = tree.split_once('{') else {
        return take(&format!("{prefix}{}", tree.trim()));
    };
    let prefix = format!("{prefix}{}", before.trim());
    let inside = inside.trim();
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inside.char_indices().chain([(inside.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 || at == inside.len() => {
                if !inside[start..at].trim().is_empty() {
                    expand(&prefix, &inside[start..at], take);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn joined<S: AsRef<str>>(mut base: Module, rest: &[S]) -> Module {
    base.extend(rest.iter().map(|name| name.as_ref().to_owned()));
    base
}

/// The files that `start` imports, directly or through others.
fn reachable<'a>(
    start: &'a str,
    imported: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left = vec![start];
    while let Some(file) = left.pop() {
        left.extend(
            imported[file]
                .iter()
                .copied()
                .filter(|next| reached.insert(*next)),
        );
    }
    reached
}
