//! The program `bantam`; what it does is in the library beside it.

fn main() -> std::process::ExitCode {
    bantam::run()
}
