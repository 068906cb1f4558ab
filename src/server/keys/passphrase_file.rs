//! Secrets that are not typed: the first line of a file that nobody else can read, of a descriptor, or of a variable,
//! without its line end.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

/// The user who may do everything anyway.
const ROOT: u32 = 0;

/// The longest secret, in bytes.
const MAX_BYTES: usize = 1024;

/// The origin of a file's name, and the access that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// An app that embeds the server: the owner of the process alone.
    Owner,
    /// `--key-file`: the same.
    Flag,
    /// `--key-file-shared`: its group too.
    FlagShared,
}

impl Access {
    fn name(self, path: &Path) -> String {
        let what = if self == Self::Owner { "the passphrase file" } else { "--key-file" };
        format!("{what} {}", path.display())
    }
}

/// Reads the passphrase in the first line of a file.
///
/// # Errors
/// The reason, with what is accepted: one that others can read, or put another in the place of, is not.
pub(crate) fn read_passphrase_file(path: &Path, access: Access) -> Result<SecretString, String> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let user = rustix::process::geteuid().as_raw();
    open_private(path, access, user, credentials.as_deref())
        .and_then(|file| first_line(&file, &path.display().to_string()))
}

/// Opens a file with a secret for the user `user`, unless others can read it or put another in its place.
fn open_private(path: &Path, access: Access, user: u32, credentials: Option<&Path>) -> Result<File, String> {
    let name = access.name(path);
    let unreadable = |error: io::Error| format!("{name} cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    // Those of the file that was opened; by now the path may name another.
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(format!("{name} is a folder; a file is accepted"));
    }
    let owner = metadata.uid();
    if owner != user && owner != ROOT {
        return Err(format!(
            "{name} belongs to the user {owner}, who can replace it; one of root or of the user {user}, whose process this is, \
             is accepted"
        ));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!("{name} has mode {mode:04o}, which gives everybody access; chmod 600 it"));
    }
    let is_credential = || {
        let inside = |folder: &Path| Some(path.canonicalize().ok()?.starts_with(folder.canonicalize().ok()?));
        credentials.and_then(inside).unwrap_or(false)
    };
    if mode & 0o070 != 0 && access != Access::FlagShared && !is_credential() {
        return Err(format!(
            "{name} has mode {mode:04o}, which gives its group access; chmod 600 it{}",
            if access == Access::Owner { "" } else { ", or allow that with --key-file-shared" }
        ));
    }
    Ok(file)
}

/// Reads the first line of `from`, which errors call `name`: byte by byte, so that nothing after the line is consumed,
/// and into one block, which is wiped.
pub(crate) fn first_line(from: impl AsFd, name: &str) -> Result<SecretString, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    let mut byte = [0];
    loop {
        match rustix::io::read(&from, &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if bytes.len() > MAX_BYTES => break,
            Ok(_) => bytes.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            // A non-blocking descriptor, as some service managers pass on.
            Err(rustix::io::Errno::AGAIN) => {
                wait(&from).map_err(|error| format!("{name} cannot be read: {error}"))?;
            }
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        }
    }
    zeroize::Zeroize::zeroize(&mut byte);
    line(&bytes, name)
}

/// Waits until `from` can be read.
fn wait(from: &impl AsFd) -> rustix::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    match poll(&mut [PollFd::new(from, PollFlags::IN)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the first line of `bytes`, without its line end.
pub(crate) fn line(bytes: &[u8], name: &str) -> Result<SecretString, String> {
    let bytes = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match bytes.len() {
        0 => Err(format!("{name} has an empty first line; the secret is expected there")),
        1..=MAX_BYTES => std::str::from_utf8(bytes)
            .map(SecretString::from)
            .map_err(|_| format!("the first line of {name} is not UTF-8; text is accepted")),
        _ => Err(format!("the first line of {name} is longer than {MAX_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn open_own(path: &Path, is_shared: bool, credentials: Option<&Path>) -> Result<File, String> {
        let access = if is_shared { Access::FlagShared } else { Access::Flag };
        open_private(path, access, rustix::process::geteuid().as_raw(), credentials)
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_named_with_its_owner() {
        let (_folder, path) = file(b"x", 0o600);
        let own = rustix::process::geteuid().as_raw();
        assert!(open_private(&path, Access::Flag, own, None).is_ok());
        // A file of root is everybody's to use; one of another user is not, not even for root.
        let other = 4711;
        if own == ROOT {
            assert!(open_private(&path, Access::Flag, other, None).is_ok());
            std::os::unix::fs::chown(&path, Some(other), None).unwrap();
            let error = open_private(&path, Access::Flag, ROOT, None).unwrap_err();
            assert!(error.contains("belongs to the user 4711"), "{error}");
            assert!(open_private(&path, Access::Flag, other, None).is_ok());
        } else {
            let error = open_private(&path, Access::Flag, other, None).unwrap_err();
            assert!(error.contains(&format!("belongs to the user {own}")), "{error}");
        }
    }

    #[test]
    fn a_secret_is_the_first_line_without_its_line_end() {
        for content in ["open sesame", "open sesame\n", "open sesame\r\n", "open sesame\nand more\n"] {
            let (_folder, path) = file(content.as_bytes(), 0o600);
            let secret = first_line(File::open(&path).unwrap(), "it").unwrap();
            assert_eq!(secret.expose_secret(), "open sesame", "{content:?}");
        }
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_waited_for() {
        use std::io::Write;

        let (theirs, mut ours) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.write_all(b"open ").unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| first_line(&theirs, "it").unwrap());
            // All of it has been read, and the rest is not there yet.
            while rustix::io::ioctl_fionread(&theirs).unwrap() > 0 {
                std::thread::yield_now();
            }
            std::thread::yield_now();
            ours.write_all(b"sesame\n").unwrap();
            assert_eq!(reader.join().unwrap().expose_secret(), "open sesame");
        });
    }

    #[test]
    fn spaces_belong_to_the_secret() {
        let (_folder, path) = file(b"  open sesame \n", 0o600);
        assert_eq!(first_line(File::open(&path).unwrap(), "it").unwrap().expose_secret(), "  open sesame ");
    }

    #[test]
    fn what_follows_the_line_is_left_for_the_next_reader() {
        let (_folder, path) = file(b"current\nnew\n", 0o600);
        let file = File::open(&path).unwrap();
        assert_eq!(first_line(&file, "it").unwrap().expose_secret(), "current");
        assert_eq!(first_line(&file, "it").unwrap().expose_secret(), "new");
    }

    #[test]
    fn a_line_that_cannot_be_a_secret_is_refused_with_the_reason() {
        let long = [b'x'; 1025];
        let table: &[(&[u8], &str)] = &[
            (b"", "empty first line"),
            (b"\nsecond", "empty first line"),
            (b"\r\n", "empty first line"),
            (b"\xff\xfe\n", "not UTF-8"),
            (&long, "longer than 1024 bytes"),
        ];
        for (content, reason) in table {
            let (_folder, path) = file(content, 0o600);
            let error = first_line(File::open(&path).unwrap(), "it").unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let (_folder, path) = file(&long[1..], 0o600);
        assert!(first_line(File::open(&path).unwrap(), "it").is_ok(), "1024 bytes are accepted");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_a_shared_one_needs_the_flag() {
        let table = [
            (0o600, false, true),
            (0o400, false, true),
            (0o640, false, false),
            (0o620, false, false),
            (0o640, true, true),
            (0o440, true, true),
            (0o604, false, false),
            (0o644, true, false),
            (0o602, true, false),
        ];
        for (mode, is_shared, is_accepted) in table {
            let (_folder, path) = file(b"x", mode);
            assert_eq!(open_own(&path, is_shared, None).is_ok(), is_accepted, "{mode:o} shared: {is_shared}");
        }
    }

    #[test]
    fn the_group_may_read_a_credential_of_the_service_manager_also_through_a_link() {
        let (folder, path) = file(b"x", 0o440);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(open_own(&path, false, Some(folder.path())).is_ok());
        assert!(open_own(&link, false, Some(folder.path())).is_ok());
        let elsewhere = tempfile::tempdir().unwrap();
        let outward = elsewhere.path().join("link");
        symlink(&path, &outward).unwrap();
        assert!(open_own(&outward, false, Some(elsewhere.path())).is_err(), "a link that leads out");
        assert!(open_own(&path, false, Some(&folder.path().join("missing"))).is_err());
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(open_own(folder.path(), false, None).unwrap_err().contains("is a folder"));
        assert!(
            open_own(&folder.path().join("missing"), false, None).unwrap_err().contains("cannot be read")
        );
    }
}
