//! `sandbox`: whether the kernel restricts the server to its files.

/// The key `sandbox`. It concerns the program only, not a server inside another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxMode {
    /// The server restricts itself as far as the kernel can, and says at start what the kernel cannot.
    /// Written `"auto"`.
    #[default]
    Auto,
    /// The server does not start if the kernel cannot do all of it. Written `"require"`.
    Require,
    /// The server does not restrict itself. Written `"off"`.
    Off,
}
