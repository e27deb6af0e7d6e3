//! Looking through directories. Invariant: reads only; a file that goes away meanwhile is no error.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// All regular files below a directory, sorted.
pub(crate) fn all(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Each file below a folder with the URL path it is served under.
pub(crate) fn served(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let path = |file: &Path| format!("/{}", file.strip_prefix(folder).unwrap().to_str().unwrap());
    // A live encoder renames and deletes between the listing and the reading.
    all(folder).iter().filter_map(|file| Some((path(file), fs::read(file).ok()?))).collect()
}

/// The files below a directory that contain these bytes.
pub(crate) fn containing(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let contains = |file: &PathBuf| {
        let content = fs::read(file).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    };
    all(directory).into_iter().filter(contains).collect()
}

/// A text file's content, if it is there.
pub(crate) fn text(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}
