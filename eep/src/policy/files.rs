//! A folder on disk, below which a policy lies with all that it includes and takes sets from.
//!
//! A policy can come from somebody else, so nothing that it names leads out of its folder: neither `..`, nor an
//! absolute path, nor a symbolic link. Links that stay inside are followed: that is how many tools swap whole folders.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use policies::text::files::{Files, Unreadable, inside};

/// The largest file that is read, bytes: room for some five million SHA-1s, one a line.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A folder with a policy in it. It is held open: what is read lies in the folder that was there at first, whatever
/// happens to its name later.
#[derive(Debug)]
pub struct Folder {
    directory: Dir,
    /// Where it is, as it was given: how its files are called in messages.
    path: PathBuf,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// Where there is none, or this user may not look into it.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let directory = Dir::open_ambient_dir(shown, ambient_authority()).map_err(|e| {
            let what = format!("the folder `{}` cannot be read: {}", shown.display(), words(&e));
            Unreadable::new(what, fix(&e, "folder"))
        })?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// The folder that a policy's file lies in, and the file's name there.
    ///
    /// # Errors
    /// Where the path names no file, or the folder cannot be opened.
    pub fn of(file: &Path) -> Result<(Self, String), Unreadable> {
        let name = file.file_name().ok_or_else(|| {
            let what = format!("`{}` is not the path of a file", file.display());
            Unreadable::new(what, "give the path of a policy, such as `policies/isp-a.yaml`")
        })?;
        let name = name.to_str().ok_or_else(|| {
            let what = format!("the name of `{}` is not UTF-8", file.display());
            Unreadable::new(what, "rename the file")
        })?;
        Ok((Self::open(file.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    /// Where it is, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        let path = inside(path)?;
        let refuse = |e: &std::io::Error| {
            Unreadable::new(format!("`{path}` cannot be read: {}", words(e)), fix(e, "file"))
        };
        // Without waiting for a writer, where somebody has put a pipe there.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        let file = self.directory.open_with(&path, &options).map_err(|e| refuse(&e))?;
        let meta = file.metadata().map_err(|e| refuse(&e))?;
        if !meta.is_file() {
            let what = format!("`{path}` is not a regular file");
            return Err(Unreadable::new(what, "give the path of a file"));
        }
        let too_large = || {
            let what = format!("`{path}` is larger than {FILE_BYTES_MAX} bytes");
            Unreadable::new(what, "split it")
        };
        if meta.len() > FILE_BYTES_MAX {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        // It may have grown since.
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| refuse(&e))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(too_large());
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = good.iter().filter(|b| **b == b'\n').count() + 1;
            let what = format!("`{path}` is not UTF-8 in line {line}");
            Unreadable::new(what, "is it the right file? Save it as UTF-8")
        })?;
        Ok(text.into())
    }

    fn name(&self, path: &str) -> String {
        self.path.join(path).to_string_lossy().into_owned()
    }
}

/// What a failure means, to the author of a policy.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
            "it leads out of the policy's folder".to_owned()
        }
        ErrorKind::PermissionDenied => "this user may not".to_owned(),
        _ => error.to_string(),
    }
}

fn fix(error: &std::io::Error, what: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound => "check the path; paths are taken from the policy's own folder".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
            "put the file below the policy's own folder, without a symbolic link that leaves it".to_owned()
        }
        ErrorKind::PermissionDenied => format!("let this user read the {what}"),
        _ => format!("check that it is a readable {what}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `inner/` is the policy's folder; `secret` lies beside it.
    fn world() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("inner");
        std::fs::create_dir_all(inner.join("lists")).unwrap();
        std::fs::write(home.path().join("secret"), "secret").unwrap();
        std::fs::write(inner.join("lists/a.cidr"), "10.0.0.0/8\n").unwrap();
        let folder = Folder::open(&inner).unwrap();
        (home, folder)
    }

    #[test]
    fn files_of_the_folder_are_read() {
        let (home, folder) = world();
        let inner = home.path().join("inner");
        assert_eq!(&*folder.read("lists/a.cidr").unwrap(), "10.0.0.0/8\n");
        // As folders are swapped whole.
        symlink("lists", inner.join("current")).unwrap();
        symlink("current/a.cidr", inner.join("b.cidr")).unwrap();
        assert_eq!(&*folder.read("./b.cidr").unwrap(), "10.0.0.0/8\n");
        let (again, name) = Folder::of(&inner.join("b.cidr")).unwrap();
        assert_eq!(&*again.read(&name).unwrap(), "10.0.0.0/8\n");
        assert_eq!(again.name(&name), inner.join("b.cidr").to_str().unwrap());
    }

    #[test]
    fn nothing_leads_out() {
        let (home, folder) = world();
        let (secret, inner) = (home.path().join("secret"), home.path().join("inner"));
        symlink(&secret, inner.join("absolute")).unwrap();
        symlink("../secret", inner.join("relative")).unwrap();
        symlink("..", inner.join("up")).unwrap();
        symlink("lists/../../secret", inner.join("through")).unwrap();
        for path in ["absolute", "relative", "up/secret", "through"] {
            let told = folder.read(path).unwrap_err();
            assert!(told.what.contains("leads out of the policy's folder"), "{path}: {}", told.what);
            assert!(told.fix.contains("below the policy's own folder"), "{path}: {}", told.fix);
        }
        for path in ["../secret", "lists/../../secret", secret.to_str().unwrap(), "", "a\0b"] {
            let told = folder.read(path).unwrap_err();
            assert!(told.fix.contains("below the policy's own folder"), "{path}: {}", told.fix);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let (home, folder) = world();
        let inner = home.path().join("inner");
        std::fs::write(inner.join("binary"), b"a\nb\n\xff\n").unwrap();
        std::fs::File::create(inner.join("large")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inner.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        symlink("loop", inner.join("loop")).unwrap();
        let told = |path: &str| folder.read(path).unwrap_err().what;
        assert_eq!(told("none"), "`none` cannot be read: there is no such file");
        assert_eq!(told("binary"), "`binary` is not UTF-8 in line 3");
        assert_eq!(told("large"), format!("`large` is larger than {FILE_BYTES_MAX} bytes"));
        assert_eq!(told("pipe"), "`pipe` is not a regular file");
        assert_eq!(told("lists"), "`lists` is not a regular file");
        assert!(told("loop").contains("cannot be read"));
        let none = Folder::open(&home.path().join("none")).unwrap_err();
        assert!(none.what.contains("there is no such"), "{}", none.what);
        assert!(Folder::of(Path::new("..")).unwrap_err().what.contains("not the path of a file"));
    }
}
