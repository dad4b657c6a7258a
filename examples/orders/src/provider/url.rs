use std::{fmt, net::SocketAddr, str::FromStr};

use http::Uri;

/// Where the payment provider is, such as `http://127.0.0.1:3001`. A query is kept: it goes with
/// every charge.
#[derive(Debug, Clone)]
pub(crate) struct ProviderUrl {
    shown: String,
    charges: Uri,
}

impl ProviderUrl {
    /// Where charges are asked for.
    pub(crate) const fn charges(&self) -> &Uri {
        &self.charges
    }
}

impl FromStr for ProviderUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MALFORMED: &str = "is not of the form http://host:port";
        let (url, query) = match text.split_once('?') {
            Some((url, query)) => (url, format!("?{query}")),
            None => (text, String::new()),
        };
        let parts: Uri = url.parse().map_err(|_| MALFORMED)?;
        if parts.scheme_str() == Some("https") {
            return Err("begins with https: this program has no TLS; use http");
        }
        let authority = parts.authority().ok_or(MALFORMED)?;
        if authority.as_str().contains('@') {
            return Err("has a user name or a password, which would not be sent");
        }
        // `Uri` takes any text for a port, and then says that there is none.
        let (host, port) = (authority.host(), authority.port_u16());
        let plain = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if parts.scheme_str() != Some("http")
            || host.is_empty()
            || authority.as_str() != plain
            || text.contains('#')
        {
            return Err(MALFORMED);
        }
        let base = url.trim_end_matches('/');
        let charges = format!("{base}/charges{query}");
        Ok(Self {
            shown: text.to_owned(),
            charges: charges.parse().map_err(|_| MALFORMED)?,
        })
    }
}

impl From<SocketAddr> for ProviderUrl {
    fn from(addr: SocketAddr) -> Self {
        let url = format!("http://{addr}");
        url.parse().expect("an address is a URL")
    }
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_where_they_lead() {
        for (url, charges) in [
            ("http://localhost", "http://localhost/charges"),
            ("http://h:81/", "http://h:81/charges"),
            ("http://[::1]:81/pay/v1", "http://[::1]:81/pay/v1/charges"),
            ("http://h?fail_rate=0.5", "http://h/charges?fail_rate=0.5"),
        ] {
            let parsed: ProviderUrl = url.parse().unwrap();
            assert_eq!(parsed.charges().to_string(), charges);
            assert_eq!(parsed.to_string(), url);
        }
        for (url, reason) in [
            ("https://pay.example.com", "no TLS"),
            ("http://user:pw@h", "has a user name"),
            ("h:81", "is not of the form"),
            ("/charges", "is not of the form"),
            ("http://", "is not of the form"),
            ("http://h:port", "is not of the form"),
            ("http://h/#a", "is not of the form"),
            ("http://h?a b", "is not of the form"),
            ("ftp://h", "is not of the form"),
        ] {
            let error = url.parse::<ProviderUrl>().unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
