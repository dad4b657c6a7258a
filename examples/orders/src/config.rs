//! The configuration: environment variables, all read and checked before anything else happens.

use std::{collections::BTreeMap, ffi::OsString, fmt, net::SocketAddr, path::Path, str::FromStr};

use http::{HeaderValue, Uri};
use tracing_subscriber::filter::Targets;

use crate::database::DatabaseUrl;

/// What `--help` says about each variable.
pub(crate) const VARIABLES: &str = "\
  ORDERS_ADDR          where to listen; port 0 picks one  (default: 127.0.0.1:3000)
  ORDERS_LOG           pretty or json, to stderr          (default: pretty)
  ORDERS_CORS_ORIGINS  origins whose pages may call, with commas between; * for all
                                                          (default: none)
  DATABASE_URL         sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE
                                                          (default: sqlite:orders.db)
  DATABASE_URL_FILE    a file that holds the DATABASE_URL, in place of it
  RUST_LOG             which logs, such as warn or info,orders=debug  (default: info)";

const OWN_PREFIX: &str = "ORDERS_";
const OWN: [&str; 3] = ["ORDERS_ADDR", "ORDERS_LOG", "ORDERS_CORS_ORIGINS"];

/// Everything that can be set. `Display` is what `--check-config` prints, without secrets.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) addr: SocketAddr,
    pub(crate) database: DatabaseUrl,
    pub(crate) log: LogFormat,
    pub(crate) log_filter: Targets,
    pub(crate) cors: CorsOrigins,
    /// Variables that look like ours and are not. They are no errors, because a container platform
    /// sets some of its own in the name of a service (`ORDERS_SERVICE_HOST`).
    pub(crate) unknown: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

/// Whose pages may call this service from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CorsOrigins {
    /// Callers are not authenticated: with every page allowed, any page that somebody visits could
    /// reach a service on that machine. So it is none unless it is said.
    None,
    Any,
    List(Vec<HeaderValue>),
}

/// What is wrong with a variable: name, reason. The value is not repeated; it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    variable: String,
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

impl Config {
    /// Reads the variables of the process, or says everything that is wrong with them.
    pub(crate) fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut vars = Vars {
            vars: vars.into_iter().collect(),
            errors: Vec::new(),
        };
        let config = Self {
            addr: vars.parse(
                "ORDERS_ADDR",
                SocketAddr::from(([127, 0, 0, 1], 3000)),
                |text| {
                    text.parse()
                        .map_err(|_| "is not an IP address and a port, such as 127.0.0.1:3000")
                },
            ),
            database: vars.database_url(),
            log: vars.parse("ORDERS_LOG", LogFormat::Pretty, LogFormat::parse),
            log_filter: vars.parse("RUST_LOG", default_filter(), |text| {
                Targets::from_str(text)
                    .map_err(|_| "is not a list of levels, such as info,orders=debug")
            }),
            cors: vars.parse("ORDERS_CORS_ORIGINS", CorsOrigins::None, CorsOrigins::parse),
            unknown: vars.unknown(),
        };
        if vars.errors.is_empty() {
            Ok(config)
        } else {
            Err(vars.errors)
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ORDERS_ADDR          {}", self.addr)?;
        writeln!(f, "ORDERS_LOG           {}", self.log)?;
        writeln!(f, "ORDERS_CORS_ORIGINS  {}", self.cors)?;
        writeln!(f, "DATABASE_URL         {}", self.database)?;
        write!(f, "RUST_LOG             {}", self.log_filter)
    }
}

fn default_filter() -> Targets {
    Targets::new().with_default(tracing::Level::INFO)
}

/// The variables, and what was wrong with those that were read.
struct Vars {
    vars: BTreeMap<OsString, OsString>,
    errors: Vec<ConfigError>,
}

impl Vars {
    fn error(&mut self, variable: &str, reason: impl Into<String>) {
        self.errors.push(ConfigError {
            variable: variable.to_owned(),
            reason: reason.into(),
        });
    }

    /// The text of a variable. One that is empty is an error, not a default: it is what is left of
    /// a secret that was not there.
    fn text(&mut self, variable: &str) -> Option<String> {
        let value = self.vars.get(std::ffi::OsStr::new(variable))?;
        let reason = match value.to_str() {
            Some("") => "is empty: give it a value or unset it",
            Some(text) => return Some(text.to_owned()),
            None => "is not UTF-8",
        };
        self.error(variable, reason);
        None
    }

    fn parse<T>(
        &mut self,
        variable: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> T {
        match self.text(variable).map(|text| parse(&text)) {
            Some(Ok(value)) => return value,
            Some(Err(reason)) => self.error(variable, reason),
            None => {}
        }
        default
    }

    fn database_url(&mut self) -> DatabaseUrl {
        const URL: &str = "DATABASE_URL";
        const FILE: &str = "DATABASE_URL_FILE";
        let default = DatabaseUrl::default_file();
        let Some(file) = self.text(FILE) else {
            return self.parse(URL, default, DatabaseUrl::from_str);
        };
        if self.text(URL).is_some() {
            self.error(FILE, "is set, and so is DATABASE_URL: unset one of them");
            return default;
        }
        match std::fs::read_to_string(Path::new(&file)) {
            Ok(text) => match text.trim().parse() {
                Ok(url) => return url,
                Err(reason) => self.error(FILE, format!("names a file whose content {reason}")),
            },
            Err(error) => self.error(FILE, format!("names a file that cannot be read: {error}")),
        }
        default
    }

    fn unknown(&self) -> Vec<String> {
        let names = self.vars.keys().filter_map(|name| name.to_str());
        names
            .filter(|name| name.starts_with(OWN_PREFIX) && !OWN.contains(name))
            .map(str::to_owned)
            .collect()
    }
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("is neither pretty nor json"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
        })
    }
}

impl CorsOrigins {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        text.split(',')
            .map(|origin| origin_of(origin.trim()))
            .collect::<Option<_>>()
            .map(Self::List)
            .ok_or("is neither * nor a list of origins such as https://shop.example.com")
    }
}

/// An origin as browsers send it (RFC 6454 §6.2): scheme, host and port, and no slash at the end,
/// with which it would never match.
fn origin_of(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    (format!("{scheme}://{authority}") == text && !authority.as_str().contains('@'))
        .then(|| HeaderValue::from_str(text).ok())?
}

impl fmt::Display for CorsOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("*"),
            Self::List(origins) => {
                let origins: Vec<_> = origins.iter().filter_map(|o| o.to_str().ok()).collect();
                f.write_str(&origins.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::from_vars(vars.iter().map(|(k, v)| (k.into(), v.into())))
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "postgres://shop:s3cr3t@db.example.com/shop?password=s3cr3t";
        let config = config(&[("DATABASE_URL", url)]).unwrap();
        for shown in [config.to_string(), format!("{config:?}")] {
            assert!(!shown.contains("s3cr3t"), "{shown}");
            assert!(
                shown.contains("shop:***@db.example.com:5432/shop"),
                "{shown}"
            );
        }
    }

    #[test]
    fn urls_that_would_not_do_what_they_seem_to() {
        for (url, reason) in [
            (
                "mysql://localhost/shop",
                "must begin with sqlite: or postgres:",
            ),
            ("sqlite::memory:", "names no file"),
            ("sqlite:", "names no file"),
            ("sqlite:shop.db?mode=ro", "has options"),
            ("postgres://host:port/", "is not of the form"),
        ] {
            let errors = config(&[("DATABASE_URL", url)]).unwrap_err();
            assert!(errors[0].contains(reason), "{url}: {errors:?}");
        }
        for (url, shown) in [
            ("sqlite:shop.db", "sqlite:shop.db"),
            ("sqlite://shop.db?mode=rwc", "sqlite:shop.db"),
            ("sqlite:///var/lib/shop.db", "sqlite:/var/lib/shop.db"),
            ("postgresql://u@h", "postgres://u:***@h:5432/"),
        ] {
            let config = config(&[("DATABASE_URL", url)]).unwrap();
            assert_eq!(config.database.to_string(), shown);
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        let list = "https://shop.example.com, http://localhost:8080";
        let parsed = config(&[("ORDERS_CORS_ORIGINS", list)]).unwrap();
        assert_eq!(
            parsed.cors.to_string(),
            "https://shop.example.com,http://localhost:8080"
        );
        for bad in [
            "https://shop.example.com/",
            "shop.example.com",
            "https://a,",
            "https://u@h",
        ] {
            assert!(config(&[("ORDERS_CORS_ORIGINS", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_look_like_ours_are_reported_and_no_error() {
        let config = config(&[("ORDERS_ADR", "x"), ("ORDERS_LOG", "json"), ("ORDER", "x")]);
        assert_eq!(config.unwrap().unknown, ["ORDERS_ADR"]);
    }
}
