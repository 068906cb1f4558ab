//! What packages need: completions, manual pages, the health check of a container, the packaged settings.

use crate::process::Workplace;

/// Commands that are in every list.
const SOME: [&str; 6] = ["serve", "user", "key", "backup", "restore", "completions"];

#[test]
fn each_shell_gets_completions_for_every_command() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let printed = place.run(&["completions", shell], "");
        printed.expect(0, shell);
        for command in SOME {
            assert!(printed.out.contains(command), "{shell} lacks {command}");
        }
        assert!(printed.out.contains("--database-url") || printed.out.contains("-l database-url"), "{shell}");
    }
    place.run(&["completions", "csh"], "").expect_error(2, "csh");
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Workplace::new();
    place.run(&["man", "pages"], "").expect(0, "man");
    let page = |name: &str| std::fs::read_to_string(place.path(&format!("pages/{name}.1"))).unwrap();
    for command in SOME {
        assert!(page(&format!("hallpass-{command}")).contains(".SH NAME"), "{command}");
    }
    assert!(page("hallpass-user-add").contains("password"));
    assert!(page("hallpass").contains("hallpass"));
}

#[test]
fn the_health_of_a_server_is_an_exit_status() {
    let place = Workplace::new();
    place.add_user();
    let server = place.serve();
    let asked = Workplace::new().variable("HALLPASS_SERVER__BIND", &server.address);
    let ready = asked.run(&["health"], "");
    ready.expect(0, "health");
    assert_eq!(ready.out, "ready\n");
    server.stop("TERM");
    asked.run(&["health"], "").expect_error(1, "no server answers at");
}

#[test]
fn the_packaged_settings_are_accepted() {
    let place = Workplace::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/hallpass.toml");
    let shown = place.run(&["config", "--config", file], "");
    shown.expect(0, "config");
    assert!(shown.out.contains("sqlite:///var/lib/hallpass/hallpass.db"), "{shown:?}");
}
