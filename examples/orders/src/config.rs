//! The configuration: environment variables, all read and checked before anything else happens.

mod redis_url;

use std::{ffi::OsString, fmt, net::SocketAddr, str::FromStr};

use http::{HeaderValue, Uri};
use orders::{
    fake_provider,
    vars::{ConfigError, Vars},
};
use tracing_subscriber::filter::Targets;

use crate::{database::DatabaseUrl, provider::ProviderUrl};

pub(crate) use redis_url::RedisUrl;

/// What `--help` says about each variable.
pub(crate) const VARIABLES: &str = "\
  ORDERS_ADDR          where to listen; port 0 picks one  (default: 127.0.0.1:3000)
  ORDERS_LOG           pretty or json, to stderr          (default: pretty)
  ORDERS_CORS_ORIGINS  origins whose pages may call, with commas between; * for all
                                                          (default: none)
  ORDERS_PAYMENT_URL   http://HOST:PORT of the payment provider
                                                          (default: a built-in fake one)
  ORDERS_HOOK_ATTEMPTS how often a webhook is tried before it is dead, 1 to 100
                                                          (default: 15)
  DATABASE_URL         sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE
                                                          (default: sqlite:orders.db)
  DATABASE_URL_FILE    a file that holds the DATABASE_URL, in place of it
  REDIS_URL            redis://USER:PASSWORD@HOST:PORT/DATABASE; the keys of payments
                                                          (default: none)
  REDIS_URL_FILE       a file that holds the REDIS_URL, in place of it
  RUST_LOG             which logs, such as warn or info,orders=debug  (default: info)";

const OWN_PREFIX: &str = "ORDERS_";
const OWN: [&str; 5] = [
    "ORDERS_ADDR",
    "ORDERS_LOG",
    "ORDERS_CORS_ORIGINS",
    "ORDERS_PAYMENT_URL",
    "ORDERS_HOOK_ATTEMPTS",
];

/// Everything that can be set. `Display` is what `--check-config` prints, without secrets.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) addr: SocketAddr,
    pub(crate) database: DatabaseUrl,
    pub(crate) redis: Option<RedisUrl>,
    /// The built-in one where there is none.
    pub(crate) payment: Option<ProviderUrl>,
    /// How the built-in payment provider behaves.
    pub(crate) fake_provider: fake_provider::Settings,
    /// How often the delivery of a webhook is tried.
    pub(crate) webhook_attempts: u16,
    pub(crate) log: LogFormat,
    pub(crate) log_filter: Targets,
    pub(crate) cors: CorsOrigins,
    /// Variables that look like ours and are not.
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

impl Config {
    /// Reads the variables of the process, or says everything that is wrong with them.
    pub(crate) fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut vars = Vars::new(vars);
        let addr = vars.read("ORDERS_ADDR", |text| {
            text.parse()
                .map_err(|_| "is not an IP address and a port, such as 127.0.0.1:3000")
        });
        let database = vars.read_secret("DATABASE_URL", DatabaseUrl::from_str);
        let redis = vars.read_secret("REDIS_URL", RedisUrl::from_str);
        let payment = vars.read("ORDERS_PAYMENT_URL", ProviderUrl::from_str);
        let fake_provider = fake_provider::Settings::read(&mut vars);
        let webhook_attempts = vars.read("ORDERS_HOOK_ATTEMPTS", |text| {
            let attempts = text.parse().ok();
            attempts
                .filter(|attempts| (1..=100).contains(attempts))
                .ok_or("is not a number from 1 to 100")
        });
        let log = vars.read("ORDERS_LOG", LogFormat::parse);
        let log_filter = vars.read("RUST_LOG", |text| {
            Targets::from_str(text)
                .map_err(|_| "is not a list of levels, such as info,orders=debug")
        });
        let cors = vars.read("ORDERS_CORS_ORIGINS", CorsOrigins::parse);
        let mut unknown = vars.unknown(OWN_PREFIX, &OWN);
        unknown.extend_from_slice(&fake_provider.unknown);
        vars.finish(Self {
            addr: addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3000))),
            database: database.unwrap_or_else(DatabaseUrl::default_file),
            redis,
            payment,
            fake_provider,
            webhook_attempts: webhook_attempts.unwrap_or(15),
            log: log.unwrap_or(LogFormat::Pretty),
            log_filter: log_filter.unwrap_or_else(default_filter),
            cors: cors.unwrap_or(CorsOrigins::None),
            unknown,
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ORDERS_ADDR          {}", self.addr)?;
        writeln!(f, "ORDERS_LOG           {}", self.log)?;
        writeln!(f, "ORDERS_CORS_ORIGINS  {}", self.cors)?;
        match &self.payment {
            Some(url) => writeln!(f, "ORDERS_PAYMENT_URL   {url}")?,
            None => writeln!(f, "ORDERS_PAYMENT_URL   built-in fake provider")?,
        }
        writeln!(f, "ORDERS_HOOK_ATTEMPTS {}", self.webhook_attempts)?;
        writeln!(f, "DATABASE_URL         {}", self.database)?;
        match &self.redis {
            Some(url) => writeln!(f, "REDIS_URL            {url}")?,
            None => writeln!(f, "REDIS_URL            none")?,
        }
        write!(f, "RUST_LOG             {}", self.log_filter)
    }
}

fn default_filter() -> Targets {
    Targets::new().with_default(tracing::Level::INFO)
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
    fn redis_urls() {
        for (url, shown) in [
            ("redis://h", "redis://h:6379/0"),
            ("redis://ada:s3cr3t@h:7000/2", "redis://***@h:7000/2"),
            ("redis://:s3cr3t@h", "redis://***@h:6379/0"),
        ] {
            let config = config(&[("REDIS_URL", url)]).unwrap();
            assert_eq!(config.redis.as_ref().unwrap().to_string(), shown);
            for text in [config.to_string(), format!("{config:?}")] {
                assert!(text.contains(shown) && !text.contains("s3cr3t"), "{text}");
            }
        }
        for (url, reason) in [
            ("rediss://:s3cr3t@h", "asks for TLS"),
            ("http://:s3cr3t@h", "is not of the form"),
            ("redis:///x:s3cr3t", "is not of the form"),
            ("redis+unix:///run/s3cr3t", "is not of the form"),
        ] {
            let errors = config(&[("REDIS_URL", url)]).unwrap_err();
            assert!(errors[0].contains(reason), "{url}: {errors:?}");
            assert!(!errors[0].contains("s3cr3t"));
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
