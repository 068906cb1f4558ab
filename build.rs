//! Compresses the files of `web/` that the server sends, so that no request waits for it. Without the feature `server`
//! there is nothing to do.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "server")]
    files::write();
}

#[cfg(feature = "server")]
mod files {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};

    /// The folders of `web/` whose files are sent, with the endings of those.
    const FOLDERS: &[(&str, &str, &[&str])] = &[
        ("CLIENT", "", &["js", "ts"]),
        ("CONSOLE", "console", &["html", "css", "js", "svg"]),
        ("DOCS", "docs", &["html", "css", "js"]),
    ];

    /// The entries for React and Vue, which need a bundler and are in the npm package only.
    const NOT_SENT: &[&str] = &["react.js", "react.d.ts", "vue.js", "vue.d.ts"];

    /// Writes `$OUT_DIR/web.rs`, a constant for each folder: a list of files.
    pub(super) fn write() {
        let web = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web");
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
        let mut code = String::new();
        for (name, folder, endings) in FOLDERS {
            let source = web.join(folder);
            println!("cargo::rerun-if-changed={}", source.display());
            let listed = std::fs::read_dir(&source).expect("the folder is a part of the package");
            let mut files: Vec<PathBuf> =
                listed.map(|entry| entry.expect("it can be listed").path()).collect();
            files.sort();
            let mut entries = String::new();
            let mut count = 0;
            for file in files {
                let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
                let file_name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if endings.contains(&ending) && !NOT_SENT.contains(&file_name) {
                    entry(&mut entries, &out, folder, &file, file_name);
                    count += 1;
                }
            }
            code.push_str(&format!(
                "pub(in crate::server::http) static {name}: [Compiled; {count}] = [\n{entries}];\n"
            ));
        }
        std::fs::write(out.join("web.rs"), code).expect("OUT_DIR can be written");
    }

    fn entry(code: &mut String, out: &Path, folder: &str, file: &Path, name: &str) {
        println!("cargo::rerun-if-changed={}", file.display());
        let text = std::fs::read_to_string(file).expect("files of web/ are text");
        let text = if name == "hallpass.js" { without_comments(&text) } else { text };
        let stem = format!("{folder}-{name}");
        let put = |ending: &str, bytes: &[u8]| {
            let name = format!("{stem}.{ending}");
            std::fs::write(out.join(&name), bytes).expect("OUT_DIR can be written");
            // Not its path: the code must not depend on the folder in which it is built.
            format!("include_bytes!(concat!(env!(\"OUT_DIR\"), {:?}))", format!("/{name}"))
        };
        writeln!(
            code,
            "    Compiled::new({name:?}, {}, {}, {}),",
            put("raw", text.as_bytes()),
            put("gz", &gzip(text.as_bytes())),
            put("br", &brotli(text.as_bytes())),
        )
        .expect("a string grows");
    }

    /// Leaves out the lines that are comments only, which a browser has no use for: a third of the file.
    fn without_comments(text: &str) -> String {
        let mut is_inside = false;
        let mut kept =
            String::from("// The client of Hallpass. Its source, with comments, is in the npm package.\n");
        for line in text.lines() {
            let start = line.trim_start();
            if is_inside || start.starts_with("/**") {
                is_inside = !start.ends_with("*/");
            } else if !start.starts_with("//") && !start.is_empty() {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        kept
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("a vector grows");
        encoder.finish().expect("a vector grows")
    }

    fn brotli(bytes: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        let mut encoder = brotli::CompressorWriter::new(&mut compressed, 4_096, 11, 22);
        encoder.write_all(bytes).expect("a vector grows");
        drop(encoder);
        compressed
    }
}
