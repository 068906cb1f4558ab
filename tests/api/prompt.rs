//! The prompts, answered through a pseudo-terminal.

use std::process::Command;

use rexpect::session::{PtySession, spawn_command};

use crate::app::{EMAIL, PASSPHRASE, PASSWORD};
use crate::process::Workplace;
use crate::secrets::{CORE, core_dump, holds, memory};

/// A shell on a new terminal. It runs `script` with `$HALLPASS` as the binary, then prints the exit status and whether
/// the terminal has its modes back. The time limit is for slow machines; no test waits for it to pass.
fn terminal(place: &Workplace, script: &str) -> PtySession {
    let inner = place.command::<&str>([]);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "trap : INT TERM; stty sane; before=$(stty -g); {script}; echo \"status $?\"; \
         [ \"$before\" = \"$(stty -g)\" ] && echo terminal restored || stty -a; echo the end"
    ));
    command.current_dir(place.folder.path()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("HALLPASS", inner.get_program()).env("TERM", "xterm");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    spawn_command(command, Some(120_000)).unwrap()
}

#[track_caller]
fn ends(session: &mut PtySession, status: i32) -> String {
    let before = session.exp_string(&format!("status {status}")).unwrap_or_else(|error| panic!("{error}"));
    session.exp_string("terminal restored").unwrap_or_else(|error| panic!("{error}"));
    session.exp_string("the end").unwrap();
    before
}

fn type_at(session: &mut PtySession, prompt: &str, line: &str) -> String {
    // A prompt discards what was typed before it, so it is waited for, and so is the end of echo.
    let before = session.exp_string(prompt).unwrap_or_else(|error| panic!("{prompt}: {error}"));
    session.exp_string(":").unwrap();
    wait_for_no_echo(session);
    session.send_line(line).unwrap();
    before
}

/// Waits until the process has turned echo off, which it does when it begins to read.
fn wait_for_no_echo(session: &PtySession) {
    let terminal = session.process().get_file_handle().unwrap();
    loop {
        let modes = rustix::termios::tcgetattr(&terminal).unwrap();
        let hidden = !modes.local_modes.contains(rustix::termios::LocalModes::ECHO);
        if hidden {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_first_start_asks_twice_and_offers_to_add_a_user_and_the_second_asks_once() {
    let place = Workplace::new();
    let serve = "$HALLPASS serve --bind 127.0.0.1:0";
    let mut session = terminal(&place, serve);
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", PASSPHRASE);
    type_at(&mut session, "E-mail of the first user", EMAIL);
    type_at(&mut session, &format!("Password for {EMAIL}"), PASSWORD);
    let shown = type_at(&mut session, "Repeat the password", PASSWORD);
    assert!(!shown.contains(PASSPHRASE) && !shown.contains(PASSWORD), "{shown}");
    session.exp_string("listening on http://127.0.0.1:").unwrap();
    session.send_control('c').unwrap();
    ends(&mut session, 0);
    let list = place.run(&["user", "list"], "");
    assert!(list.out.contains(EMAIL) && list.out.contains("admin"), "{list:?}");

    let mut session = terminal(&place, serve);
    type_at(&mut session, "Passphrase", PASSPHRASE);
    let shown = session.exp_string("listening on http://127.0.0.1:").unwrap();
    assert!(!shown.contains("E-mail") && !shown.contains(PASSPHRASE), "{shown}");
    session.send_control('c').unwrap();
    ends(&mut session, 0);
}

#[test]
fn once_the_server_listens_what_was_typed_is_not_in_memory_or_a_core_dump() {
    let place = Workplace::new()
        .variable("HALLPASS_DUMPABLE", "1")
        .variable("PLANTED", "planted: nine copper kettles");
    let mut session =
        terminal(&place, &format!("sh -c '{CORE} echo pid $$ .; exec $HALLPASS serve --bind 127.0.0.1:0'"));
    session.exp_string("pid ").unwrap();
    let process = session.exp_string(" .").unwrap().trim().parse().unwrap();
    type_at(&mut session, "New passphrase", "password123 password123");
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", "a mistyped river of lanterns");
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", PASSPHRASE);
    type_at(&mut session, "E-mail of the first user", EMAIL);
    type_at(&mut session, &format!("Password for {EMAIL}"), PASSWORD);
    type_at(&mut session, "Repeat the password", PASSWORD);
    session.exp_string("listening on http://").unwrap();
    let memory = memory(process);
    let core = core_dump(process, place.folder.path(), || drop(ends(&mut session, 134)));
    for (what, bytes) in [("memory", Some(memory)), ("a core dump", core)] {
        let Some(bytes) = bytes else { continue };
        assert!(holds(&bytes, b"planted: nine copper kettles"), "the control: {what}");
        for typed in [PASSPHRASE, "password123 password123", "a mistyped river of lanterns", PASSWORD] {
            assert!(!holds(&bytes, typed.as_bytes()), "{typed:?} is in {what}");
        }
    }
}

#[test]
fn a_weak_or_mistyped_new_passphrase_is_asked_for_again_with_the_reason() {
    let place = Workplace::new();
    let mut session = terminal(&place, "$HALLPASS serve --bind 127.0.0.1:0");
    type_at(&mut session, "New passphrase", "password123");
    session.exp_string("weak").unwrap();
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", "a river of sixteen blue lanterns");
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", PASSPHRASE);
    type_at(&mut session, "E-mail of the first user", "");
    session.exp_string("listening on http://").unwrap();
    session.send_control('c').unwrap();
    ends(&mut session, 0);
}

#[test]
fn a_passphrase_can_be_typed_three_times() {
    let place = Workplace::new();
    place.add_user();
    place.serve().stop("TERM").expect(0, "the first start");
    let mut session = terminal(&place, "$HALLPASS serve --bind 127.0.0.1:0");
    type_at(&mut session, "Passphrase", "first wrong one");
    session.exp_string("2 attempts left").unwrap();
    type_at(&mut session, "Passphrase", "second wrong one");
    session.exp_string("1 attempt left").unwrap();
    type_at(&mut session, "Passphrase", "third wrong one");
    let said = ends(&mut session, 3);
    assert!(said.contains("hallpass: ") && !said.contains("third"), "{said}");
}

#[test]
fn ctrl_c_at_a_prompt_ends_with_130_and_leaves_the_terminal_as_it_was() {
    let place = Workplace::new();
    let mut session = terminal(&place, "$HALLPASS serve");
    session.exp_string("New passphrase").unwrap();
    wait_for_no_echo(&session);
    session.send_control('c').unwrap();
    ends(&mut session, 130);
}

#[test]
fn a_termination_at_a_prompt_leaves_the_terminal_as_it_was() {
    let place = Workplace::new();
    let mut session = terminal(&place, "sh -c 'echo pid $$ .; exec $HALLPASS serve'");
    session.exp_string("pid ").unwrap();
    let pid = session.exp_string(" .").unwrap();
    session.exp_string("New passphrase").unwrap();
    wait_for_no_echo(&session);
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    ends(&mut session, 143);
}

#[test]
fn the_end_of_input_at_a_prompt_is_an_error() {
    let place = Workplace::new();
    let mut session = terminal(&place, "$HALLPASS serve");
    session.exp_string("New passphrase").unwrap();
    wait_for_no_echo(&session);
    session.send_control('d').unwrap();
    let said = ends(&mut session, 2);
    assert!(said.contains("nothing was typed"), "{said}");
}

#[test]
fn prompts_are_on_the_terminal_even_if_input_and_output_are_redirected() {
    let place = Workplace::new();
    place.add_user();
    let mut session = terminal(&place, "$HALLPASS serve --bind 127.0.0.1:0 <&- >out.txt 2>err.txt");
    type_at(&mut session, "New passphrase", PASSPHRASE);
    type_at(&mut session, "Repeat the passphrase", PASSPHRASE);
    // It listens once its line is in the file; the last prompt is over by then.
    while !std::fs::read_to_string(place.path("out.txt")).unwrap().starts_with("listening on http://") {
        std::thread::yield_now();
    }
    session.send_control('c').unwrap();
    ends(&mut session, 0);
    for file in ["out.txt", "err.txt"] {
        assert!(!std::fs::read_to_string(place.path(file)).unwrap().contains("passphrase"), "{file}");
    }
}

#[test]
fn a_users_password_is_asked_for_hidden_and_a_deletion_is_confirmed() {
    let place = Workplace::new();
    let mut session = terminal(&place, "$HALLPASS user add ada@example.com");
    type_at(&mut session, "Password for ada@example.com", "short");
    session.exp_string("shorter than 8 characters").unwrap();
    type_at(&mut session, "Password for ada@example.com", PASSWORD);
    type_at(&mut session, "Repeat the password", PASSWORD);
    let said = ends(&mut session, 0);
    assert!(said.contains("added ada@example.com") && !said.contains(PASSWORD), "{said}");

    let mut session = terminal(&place, "$HALLPASS user delete ada@example.com");
    session.exp_string("Delete ada@example.com?").unwrap();
    wait_for_no_echo(&session);
    session.send("n").unwrap();
    session.flush().unwrap();
    ends(&mut session, 1);
    let mut session = terminal(&place, "$HALLPASS user delete ada@example.com");
    session.exp_string("Delete ada@example.com?").unwrap();
    wait_for_no_echo(&session);
    session.send("y").unwrap();
    session.flush().unwrap();
    ends(&mut session, 0);
    assert_eq!(place.run(&["user", "list", "--json"], "").out.trim(), "[]");
}
