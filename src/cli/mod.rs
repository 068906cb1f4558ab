//! The shell: one file a command; the only code that prompts and prints.
