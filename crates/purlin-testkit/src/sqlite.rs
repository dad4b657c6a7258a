use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A place for an SQLite file in a folder of its own, deleted with everything in it on drop.
#[derive(Debug)]
pub struct TestFile {
    folder: TempDir,
}

impl TestFile {
    /// A new empty folder. The file itself does not exist yet.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "makes a folder")]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("purlin-test-").expect("a temporary folder can be made");
        Self { folder }
    }

    /// Where the file shall be.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
