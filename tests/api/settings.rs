//! Settings: sources, names, values, and the files that list them.

use hallpass::server::config::{ConfigError, FIELDS, Loaded, Settings, Sources, variable_name};

use crate::process::Workplace;

/// A folder with these files, and these variables.
struct Layers {
    folder: tempfile::TempDir,
    sources: Sources,
}

fn layers(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Layers {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let sources = Sources { folder: folder.path().to_owned(), environment, ..Sources::default() };
    Layers { folder, sources }
}

impl Layers {
    fn load(&self) -> Result<Loaded, ConfigError> {
        Loaded::from(&self.sources)
    }

    fn settings(&self) -> Settings {
        self.load().unwrap().into_settings()
    }

    #[track_caller]
    fn expect_error(&self, words: &[&str]) {
        let error = self.load().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }
}

#[test]
fn without_any_source_the_defaults_are_those_of_the_contract() {
    let settings = layers(&[], &[]).settings();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.max_body_bytes, 65_536);
    assert_eq!(settings.database.url.to_string(), "sqlite://hallpass.db");
    assert_eq!(settings.database.stale_after.as_secs(), 60);
    assert_eq!(settings.token.algorithm.to_string(), "EdDSA");
    assert_eq!(settings.token.lifetime.as_secs(), 3600);
    assert_eq!((settings.token.issuer, settings.token.audience), (None, None));
    assert_eq!(settings.token.leeway.as_secs(), 0);
    assert_eq!(settings.token.realm, "Authentication Required");
    assert!(settings.token.accept_bare);
    assert_eq!(settings.password.bcrypt_cost, 12);
    assert_eq!(settings.password.min_length, 8);
    assert_eq!(settings.password.queue, 64);
    assert_eq!(settings.log.format.to_string(), "text");
}

#[test]
fn each_source_overrides_the_ones_before_it() {
    let lifetime = |seconds: u32| format!("[token]\nlifetime_s = {seconds}\n");
    let files = [
        ("config/default.toml", lifetime(101)),
        ("config/production.toml", lifetime(102)),
        ("mine.toml", lifetime(103)),
        (".env", "HALLPASS_TOKEN__LIFETIME_S=104\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut layers = layers(&files[..1], &[]);
    let expect = |layers: &Layers, seconds: u64| {
        assert_eq!(layers.settings().token.lifetime.as_secs(), seconds);
    };
    expect(&layers, 101);
    std::fs::write(layers.folder.path().join(files[1].0), files[1].1).unwrap();
    expect(&layers, 101);
    layers.sources.environment.push(("HALLPASS_ENV".into(), "production".into()));
    expect(&layers, 102);
    std::fs::write(layers.folder.path().join(files[2].0), files[2].1).unwrap();
    layers.sources.config_file = Some("mine.toml".into());
    expect(&layers, 103);
    std::fs::write(layers.folder.path().join(files[3].0), files[3].1).unwrap();
    expect(&layers, 104);
    layers.sources.environment.push(("HALLPASS_TOKEN__LIFETIME_S".into(), "105".into()));
    expect(&layers, 105);
    layers.sources.flags.push(("--lifetime", "token.lifetime_s", "106".into()));
    expect(&layers, 106);
}

#[test]
fn database_url_can_have_its_common_name_and_ours_overrides_it() {
    let common = ("DATABASE_URL", "sqlite://common.db");
    assert_eq!(layers(&[], &[common]).settings().database.url.to_string(), "sqlite://common.db");
    let both = layers(&[], &[("HALLPASS_DATABASE__URL", "sqlite:///own.db"), common]).settings();
    assert_eq!(both.database.url.to_string(), "sqlite:///own.db");
}

#[test]
fn the_database_url_of_an_apps_own_dot_env_is_left_alone() {
    let url = |dot_env: &str, variables: &[(&str, &str)]| {
        layers(&[(".env", dot_env)], variables).settings().database.url.to_string()
    };
    assert_eq!(url("DATABASE_URL=sqlite://app.db\n", &[]), "sqlite://hallpass.db");
    assert_eq!(url("DATABASE_URL=mysql://app\n", &[]), "sqlite://hallpass.db");
    assert_eq!(
        url("DATABASE_URL=sqlite://app.db\nHALLPASS_DATABASE__URL=sqlite://own.db", &[]),
        "sqlite://own.db"
    );
    assert_eq!(
        url("DATABASE_URL=sqlite://app.db\n", &[("DATABASE_URL", "sqlite://real.db")]),
        "sqlite://real.db",
        "the real environment counts"
    );
}

#[test]
fn a_setting_that_does_not_exist_is_named_with_its_source_and_similar_settings() {
    layers(&[("config/default.toml", "[token]\nlifetime = 5\n")], &[]).expect_error(&[
        "token.lifetime",
        "default.toml",
        "token.lifetime_s",
    ]);
    layers(&[], &[("HALLPASS_TOKEN__LIFETIME", "5")])
        .expect_error(&["HALLPASS_TOKEN__LIFETIME", "token.lifetime_s"]);
    layers(&[], &[("HALLPASS_SERVER__REALM", "x")]).expect_error(&["HALLPASS_SERVER__REALM", "token.realm"]);
    layers(&[], &[("HALLPASS_NONSENSE", "5")]).expect_error(&["HALLPASS_NONSENSE", "server.bind"]);
    layers(&[(".env", "HALLPASS_NONSENSE=5")], &[]).expect_error(&["HALLPASS_NONSENSE in .env"]);
    layers(&[("config/default.toml", "lifetime_s = 5\n")], &[])
        .expect_error(&["lifetime_s is outside a section"]);
}

#[test]
fn a_value_that_is_not_acceptable_is_named_with_its_source_and_what_is_accepted() {
    let long = "x".repeat(513);
    for (name, bad, accepted) in [
        ("server.bind", "localhost", "127.0.0.1:8080"),
        ("server.workers", "0", "from 1 to 512"),
        ("server.max_body_bytes", "64k", "a whole number"),
        ("database.url", "mysql://x", "sqlite://relative.db"),
        ("database.url", "sqlite://", "sqlite://relative.db"),
        ("database.url", "postgres://ada:secret@db/x", "database.password_file"),
        ("database.schema", "Public", "a-z 0-9 _"),
        ("token.algorithm", "RS256", "EdDSA, ES256 or HS256"),
        ("token.algorithm", "none", "EdDSA, ES256 or HS256"),
        ("token.lifetime_s", "-1", "from 1 to 86400"),
        ("token.lifetime_s", "+5", "from 1 to 86400"),
        ("token.lifetime_s", "1e3", "from 1 to 86400"),
        ("token.leeway_s", "301", "from 0 to 300"),
        ("token.issuer", long.as_str(), "1 to 512 characters"),
        ("token.issuer", "", "1 to 512 characters"),
        ("token.realm", "a \"quoted\" one", "without quotation marks"),
        ("token.accept_bare", "yes", "true or false"),
        ("password.bcrypt_cost", "3", "from 4 to 18"),
        ("password.bcrypt_cost", "19", "from 4 to 18"),
        ("password.min_length", "7", "from 8 to 256"),
        ("log.format", "xml", "text or json"),
    ] {
        let variable = variable_name(name);
        layers(&[], &[(&variable, bad)]).expect_error(&[name, &variable, accepted]);
    }
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let settings =
        layers(&[], &[("HALLPASS_TOKEN__ISSUER", "1e10"), ("HALLPASS_TOKEN__REALM", "007")]).settings();
    assert_eq!(settings.token.issuer.as_deref(), Some("1e10"));
    assert_eq!(settings.token.realm, "007");
}

#[test]
fn a_file_that_was_asked_for_must_be_readable() {
    layers(&[], &[("HALLPASS_ENV", "staging")]).expect_error(&["staging.toml", "cannot be read"]);
    layers(&[], &[("HALLPASS_ENV", "../../etc/passwd")]).expect_error(&["HALLPASS_ENV", "letters"]);
    layers(&[("config/default.toml", "[token\n")], &[]).expect_error(&["default.toml", "line 1"]);
    layers(&[("config/default.toml", "[token]\nissuer = [\"a\"]\n")], &[])
        .expect_error(&["token.issuer", "array"]);
    layers(&[(".env", "no equals sign\n")], &[]).expect_error(&[".env", "NAME=value"]);
    let mut layers = layers(&[], &[]);
    layers.sources.config_file = Some("missing.toml".into());
    layers.expect_error(&["missing.toml", "cannot be read"]);
}

#[test]
fn a_list_is_a_toml_array_or_text_with_commas() {
    for text in ["trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", "trusted_proxies = \"10.0.0.0/8, ::1\""] {
        let settings = layers(&[("config/default.toml", &format!("[server]\n{text}\n"))], &[]).settings();
        let shown: Vec<_> = settings.server.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128"]);
    }
    layers(&[], &[("HALLPASS_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, proxy.example")])
        .expect_error(&["10.0.0.1"]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = "\u{feff}[token]\r\nlifetime_s = 900\r\nrealm = \"x\"\r\n";
    assert_eq!(layers(&[("config/default.toml", text)], &[]).settings().token.lifetime.as_secs(), 900);
}

#[test]
fn the_passphrase_is_refused_from_files_and_never_repeated() {
    let secret = "a river of seventeen blue lanterns";
    let layers_with = |name: &str, text: String| layers(&[(name, &text)], &[]);
    for refused in [
        layers_with(".env", format!("HALLPASS_KEY=\"{secret}\"")),
        layers_with("config/default.toml", format!("[hallpass]\nkey = \"{secret}\"")),
    ] {
        let error = refused.load().unwrap_err().to_string();
        assert!(!error.contains(secret), "{error}");
    }
    layers(&[], &[("HALLPASS_KEY", secret)]).settings();
}

#[test]
fn the_profile_nist_sets_what_no_other_source_sets_and_refuses_what_does_not_conform() {
    for (files, variables) in [
        (vec![("config/default.toml", "profile = \"nist\"\n[log]\nformat = \"json\"\n")], vec![]),
        (vec![(".env", "HALLPASS_PROFILE=nist\n")], vec![]),
        (vec![], vec![("HALLPASS_PROFILE", "nist")]),
    ] {
        let settings = layers(&files, &variables).settings();
        assert_eq!((settings.password.min_length, settings.password.nfc), (15, true));
        assert_eq!(settings.session.refresh_lifetime.as_secs(), 30 * 86_400);
    }
    let with = |variable, value| layers(&[], &[("HALLPASS_PROFILE", "nist"), (variable, value)]);
    assert_eq!(with("HALLPASS_PASSWORD__MIN_LENGTH", "20").settings().password.min_length, 20);
    for (variable, value, words) in [
        ("HALLPASS_PASSWORD__MIN_LENGTH", "14", ["password.min_length", "15 or more"]),
        ("HALLPASS_PASSWORD__NFC", "false", ["password.nfc", "true is accepted"]),
        ("HALLPASS_SESSION__REFRESH_LIFETIME_S", "2592001", ["session.refresh_lifetime_s", "30 days"]),
    ] {
        with(variable, value).expect_error(&words);
    }
    layers(&[], &[("HALLPASS_PROFILE", "owasp")]).expect_error(&["HALLPASS_PROFILE", "nist is accepted"]);
}

#[test]
fn the_variables_of_the_test_suite_are_not_settings() {
    let url = "postgres://postgres@127.0.0.1:5432/postgres";
    layers(&[], &[("HALLPASS_TEST_POSTGRES_URL", url)]).settings();
}

#[test]
fn a_password_in_the_databases_url_is_refused_and_never_repeated() {
    for url in [
        "postgres://ada:hunter2@db.example/hallpass",
        "postgres://ada:hunter2/x@db.example/hallpass",
        "postgres://ada:hunter2?x@db.example/hallpass",
        "postgres://ada:hunter2#x@db.example/hallpass",
        "postgresql://ada@db.example/hallpass?password=hunter2",
        "postgres://ada@db.example/hallpass?sslmode=require&password=hunter2",
        "postgres://ada@db.example/hallpass?passw%6Frd=hunter2",
        // A scheme that is none.
        "postgre://ada:hunter2@db.example/hallpass",
    ] {
        let layers = layers(&[], &[("HALLPASS_DATABASE__URL", url)]);
        layers.expect_error(&["database.url is not shown (HALLPASS_DATABASE__URL"]);
        assert!(!layers.load().unwrap_err().to_string().contains("hunter2"), "{url}");
    }
    let url = "postgres://ada@db.example:5432/hallpass?sslmode=verify-full&sslrootcert=/etc/ca.pem";
    let settings = layers(&[], &[("HALLPASS_DATABASE__URL", url)]).settings();
    assert_eq!(settings.database.url.to_string(), url);
    layers(&[], &[("HALLPASS_DATABASE__URL", "mysql:x")]).expect_error(&["mysql:x"]);
}

/// The text of a file with its commented settings uncommented.
fn listed(text: &str, marker: impl Fn(&str) -> bool) -> String {
    text.lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| marker(rest)).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_environment_lists_every_setting_once_with_its_default() {
    let example = include_str!("../../.env.example");
    for field in FIELDS {
        let name = variable_name(field.name);
        let lines: Vec<_> = example.lines().filter(|line| line.starts_with(&format!("# {name}="))).collect();
        let [line] = lines[..] else {
            panic!("add to .env.example:\n# {}\n# {name}={}", field.help, field.default)
        };
        assert!(example.contains(&format!("# {}\n{line}", field.help)), "{name} is explained as in its row");
    }
    assert_eq!(example.matches("HALLPASS_").count(), FIELDS.len() + 1, "and none besides HALLPASS_ENV");
    let text = listed(example, |rest| rest.starts_with("HALLPASS_") && !rest.ends_with('='));
    assert_eq!(layers(&[(".env", &text)], &[]).settings(), Settings::default());
}

#[test]
fn the_default_file_lists_every_setting_with_its_default() {
    let file = include_str!("../../config/default.toml");
    assert_eq!(layers(&[("config/default.toml", file)], &[]).settings(), Settings::default());
    let text = listed(file, |rest| rest.contains(" = ") && !rest.ends_with("\"\""));
    assert_eq!(layers(&[("config/default.toml", &text)], &[]).settings(), Settings::default());
    for field in FIELDS {
        let key = field.name.split_once('.').unwrap().1;
        let lines = format!("# {}\n# {key} = ", field.help);
        assert!(file.contains(&lines), "config/default.toml lacks {}:\n{lines}", field.name);
    }
}

#[test]
fn the_page_of_settings_lists_every_setting_with_its_default() {
    let page = include_str!("../../docs/settings.md");
    for field in FIELDS {
        let default = if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) };
        let row = format!("| `{}` | {default} | {} |", field.name, field.help);
        assert!(page.lines().any(|line| line == row), "docs/settings.md lacks the row\n{row}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), FIELDS.len(), "and none besides");
}

#[test]
fn the_production_example_is_acceptable() {
    let file = include_str!("../../config/production.toml");
    let settings = layers(&[("config/production.toml", file)], &[("HALLPASS_ENV", "production")]).settings();
    assert_eq!(settings.log.format.to_string(), "json");
}

#[test]
fn hallpass_config_prints_every_value_and_its_source() {
    let place = Workplace::new()
        .variable("HALLPASS_TOKEN__LIFETIME_S", "900")
        .variable("HALLPASS_KEY", "not to be shown");
    std::fs::write(place.path("mine.toml"), "[log]\nformat = \"json\"\n").unwrap();
    std::fs::write(place.path(".env"), "HALLPASS_TOKEN__REALM=Here\n").unwrap();
    let shown = place.run(&["config", "--config", "mine.toml", "--database-url", "sqlite://other.db"], "");
    shown.expect(0, "config");
    let line = |name: &str| {
        let line = shown
            .out
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name}: {}", shown.out));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("token.lifetime_s"),
        "token.lifetime_s = 900 # HALLPASS_TOKEN__LIFETIME_S in the environment"
    );
    assert_eq!(line("token.realm"), "token.realm = Here # HALLPASS_TOKEN__REALM in .env");
    assert_eq!(line("log.format"), "log.format = json # mine.toml");
    assert_eq!(line("database.url"), "database.url = sqlite://other.db # --database-url");
    assert_eq!(line("server.bind"), "server.bind = 127.0.0.1:8080 # built in");
    assert_eq!(shown.out.lines().count(), FIELDS.len());
    assert!(!format!("{shown:?}").contains("not to be shown"));
}
