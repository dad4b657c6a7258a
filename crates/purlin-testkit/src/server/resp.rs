//! Single commands, as starting a server and cleaning up need them.

use std::io;
use std::time::Duration;

use redis::Value;

/// Sends one command to the server of a URL and returns its answer as text, an array one element
/// per line.
pub(crate) fn command(url: &str, words: &[&str]) -> io::Result<String> {
    let ask = || {
        let timeout = Duration::from_secs(5);
        let mut connection = redis::Client::open(url)?.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        let (name, arguments) = words.split_first().expect("a command has a name");
        redis::cmd(name).arg(arguments).query(&mut connection)
    };
    ask()
        .map(|answer| text(&answer))
        .map_err(|error| io::Error::other(error.to_string()))
}

fn text(answer: &Value) -> String {
    match answer {
        Value::Array(items) => items.iter().map(|item| text(item) + "\n").collect(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}
