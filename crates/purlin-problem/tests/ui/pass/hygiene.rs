//! The expansion names everything by its full path.
#![no_implicit_prelude]
#![deny(warnings, unused_qualifications, missing_docs)]

mod errors {
    // None of these is what the derive means.
    mod core {}
    mod std {}
    mod purlin_problem {}
    pub(crate) struct Problem;
    pub(crate) struct Result;
    pub(crate) struct Vec;
    pub(crate) struct Option;
    pub(crate) struct Some;
    pub(crate) trait ToProblem {}
    impl ToProblem for Problem {}

    #[derive(::core::fmt::Debug, ::purlin_problem::Problem)]
    #[expect(dead_code, reason = "only the first is made")]
    pub(crate) enum Error<List> {
        #[problem(status = 404, slug = "gone-fishing", title = "Gone fishing", detail = "{list}")]
        One {
            #[problem(ext)]
            list: List,
            #[problem(header = "retry-after")]
            problem: ::core::time::Duration,
        },
        #[deprecated]
        #[problem(internal)]
        Two,
        #[problem(status = 401, challenge = "Bearer")]
        Three,
        #[problem(status = 405)]
        Four(#[problem(allow)] [::http::Method; 1]),
    }

    impl<List: ::core::fmt::Debug> ::core::fmt::Display for Error<List> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.write_str("error")
        }
    }
    impl<List: ::core::fmt::Debug> ::core::error::Error for Error<List> {}
}

fn main() {
    let _ = (errors::Problem, errors::Result, errors::Vec, errors::Option, errors::Some);
    let error = errors::Error::One { list: 7, problem: ::core::time::Duration::ZERO };
    let problem = ::purlin_problem::ToProblem::to_problem(&error);
    ::core::assert!(problem.status() == 404);
}
