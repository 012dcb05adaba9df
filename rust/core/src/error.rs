//! The one error type of the algorithms.

/// What can go wrong in an algorithm. The bindings map every variant to a Python exception.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A parameter has a value that the algorithm does not take.
    #[error("{name} must be {expected}, got {given}.")]
    InvalidParameter {
        /// The parameter's name as the user writes it.
        name: &'static str,
        /// The value that was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// Two arrays do not fit together, or one does not have the needed shape.
    #[error("{name} has {given}, but {expected} is needed.")]
    Shape {
        /// The array's name.
        name: &'static str,
        /// The shape that was given.
        given: String,
        /// The shape that is needed.
        expected: String,
    },
    /// An array holds NaN or an infinity where only finite values are accepted.
    #[error("Input {name} contains {what}.")]
    NonFinite {
        /// The array's name.
        name: &'static str,
        /// `"NaN"` or `"infinity or a value too large"`.
        what: &'static str,
    },
    /// Sizes whose product overflows, or more rows, features or nodes than the code can number.
    #[error("{what} is too large: {given}, at most {limit} is supported.")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        given: String,
        /// The limit.
        limit: String,
    },
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// Result of an algorithm.
pub type Result<T> = std::result::Result<T, Error>;

/// The error for a non-finite `value` in the array `name`.
pub fn non_finite(name: &'static str, is_nan: bool) -> Error {
    Error::NonFinite {
        name,
        what: if is_nan {
            "NaN"
        } else {
            "infinity or a value too large for its dtype"
        },
    }
}
