//! What the pages of the catalogue say.

use std::fmt::{self, Display, Write as _};

use askama_escape::{Html, escape};
use serde::Serialize;

use crate::{GrpcCode, ProblemDetails, ProblemType, status::phrase};

/// The style sheet is in the page, and named by its hash, so that the page works where a policy
/// forbids inline styles.
const STYLE: &str = include_str!("catalog.css");

/// Nothing but the style sheet, by the hash of its text.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-WEiLbsgpslBGaYPdg1sKJ7Os6WE0Cg/foPv2vIQ31L0='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) struct Page {
    pub(super) content_type: &'static str,
    pub(super) text: String,
}

/// Writes pages in one of the two formats.
pub(super) struct Pages<'a> {
    base: &'a str,
    json: bool,
}

/// A type as programs read about it.
#[derive(Serialize)]
struct Entry<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    grpc_code: u8,
}

#[derive(Serialize)]
struct Index<'a> {
    problem_types: Vec<Entry<'a>>,
}

impl<'a> Pages<'a> {
    pub(super) const fn new(base: &'a str, json: bool) -> Self {
        Self { base, json }
    }

    pub(super) fn index<'t>(
        &self,
        types: impl Iterator<Item = &'t ProblemType>,
        elsewhere: impl Iterator<Item = &'t ProblemType>,
    ) -> Page {
        let (types, elsewhere): (Vec<_>, Vec<_>) = (types.collect(), elsewhere.collect());
        if self.json {
            let all = types.iter().chain(&elsewhere);
            return json(&Index {
                problem_types: all.map(|ty| self.entry(ty)).collect(),
            });
        }
        let title = "Problem types";
        html(title, |out| {
            writeln!(out, "<h1>{title}</h1>")?;
            out.write_str(
                "<p>What can go wrong with a request to this service. An error response names \
                 one of these in its member <code>type</code>.</p>\n",
            )?;
            self.table(out, &types)?;
            if !elsewhere.is_empty() {
                out.write_str("<h2>Defined elsewhere</h2>\n")?;
                self.table(out, &elsewhere)?;
            }
            Ok(())
        })
    }

    pub(super) fn of_type(&self, ty: &ProblemType) -> Page {
        if self.json {
            return json(&self.entry(ty));
        }
        html(ty.title(), |out| {
            writeln!(
                out,
                "<nav><a href=\"{}\">Problem types</a></nav>",
                esc(self.base)
            )?;
            writeln!(out, "<h1>{}</h1>", esc(ty.title()))?;
            if !ty.description().is_empty() {
                writeln!(
                    out,
                    "<p class=\"description\">{}</p>",
                    Prose(ty.description())
                )?;
            }
            let (status, uri) = (ty.status(), self.uri(ty));
            writeln!(
                out,
                "<dl>\n<dt>Type</dt><dd><code>{}</code></dd>\n\
                 <dt>Status</dt><dd>{} {}</dd>\n\
                 <dt>gRPC code</dt><dd>{}</dd>\n</dl>",
                esc(&uri),
                status.as_u16(),
                phrase(status),
                Grpc(ty.grpc_code()),
            )?;
            let example = ProblemDetails {
                type_uri: Some(uri),
                title: Some(ty.title().to_owned()),
                status: Some(status.as_u16()),
                ..ProblemDetails::default()
            };
            let example = serde_json::to_string_pretty(&example).expect("texts are JSON");
            writeln!(
                out,
                "<h2>Example</h2>\n<pre><code>HTTP/1.1 {} {}\nContent-Type: {}\n\n{}</code></pre>",
                status.as_u16(),
                phrase(status),
                crate::PROBLEM_JSON,
                esc(&example)
            )?;
            out.write_str(
                "<p class=\"note\">A response may have further members: <code>detail</code> says \
                 more about the one occurrence.</p>\n",
            )
        })
    }

    fn table(&self, out: &mut String, types: &[&ProblemType]) -> fmt::Result {
        out.write_str(
            "<table>\n<thead><tr><th>Status</th><th>Problem</th></tr></thead>\n<tbody>\n",
        )?;
        for ty in types {
            writeln!(
                out,
                "<tr><td>{}</td><td><a href=\"{}\">{}</a></td></tr>",
                ty.status().as_u16(),
                esc(&self.uri(ty)),
                esc(ty.title()),
            )?;
        }
        out.write_str("</tbody>\n</table>\n")
    }

    fn uri(&self, ty: &ProblemType) -> String {
        ty.slug_name().map_or_else(
            || ty.uri().to_owned(),
            |slug| format!("{}{slug}", self.base),
        )
    }

    fn entry<'t>(&self, ty: &'t ProblemType) -> Entry<'t> {
        Entry {
            r#type: self.uri(ty),
            title: ty.title(),
            status: ty.status().as_u16(),
            description: ty.description(),
            grpc_code: ty.grpc_code() as u8,
        }
    }
}

/// As gRPC's own documents name it: `FAILED_PRECONDITION (9)`.
struct Grpc(GrpcCode);

impl Display for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in format!("{:?}", self.0).chars().enumerate() {
            if at > 0 && letter.is_ascii_uppercase() {
                f.write_char('_')?;
            }
            f.write_char(letter.to_ascii_uppercase())?;
        }
        write!(f, " ({})", self.0 as u8)
    }
}

/// Text in which what stands between two backticks is code, as in Markdown.
struct Prose<'a>(&'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((text, (code, after))) = rest
            .split_once('`')
            .and_then(|(text, after)| Some((text, after.split_once('`')?)))
        {
            write!(f, "{}<code>{}</code>", esc(text), esc(code))?;
            rest = after;
        }
        write!(f, "{}", esc(rest))
    }
}

fn esc(text: &str) -> impl Display + '_ {
    escape(text, Html)
}

fn json(value: &impl Serialize) -> Page {
    Page {
        content_type: "application/json",
        text: serde_json::to_string(value).expect("texts and numbers are JSON"),
    }
}

fn html(title: &str, main: impl FnOnce(&mut String) -> fmt::Result) -> Page {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        esc(title)
    );
    main(&mut text).expect("a string takes all text");
    text.push_str("</main>\n</body>\n</html>\n");
    Page {
        content_type: "text/html; charset=utf-8",
        text,
    }
}
