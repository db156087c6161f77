//! The `eep` command.

fn main() -> std::process::ExitCode {
    eep::cli::main()
}
