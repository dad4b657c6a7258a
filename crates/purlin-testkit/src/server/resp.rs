//! The few words of the Redis protocol that starting a server needs.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// `host:port` of a Redis URL; `None` for one with a password, which is more than this can speak.
pub(crate) fn address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("redis://")?;
    let authority = rest.split('/').next()?;
    (!authority.contains('@')).then(|| authority.to_owned())
}

/// Sends one command and returns its answer as text, an array one element per line.
pub(crate) fn command(address: &str, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    read(&mut BufReader::new(stream), &mut answer)?;
    Ok(answer)
}

fn read(stream: &mut BufReader<TcpStream>, answer: &mut String) -> io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let Some(kind) = line.chars().next() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let rest = &line[1..];
    match kind {
        '+' | ':' => answer.push_str(rest),
        '-' => return Err(io::Error::other(rest.to_owned())),
        '$' => {
            if let Ok(length) = rest.parse::<usize>() {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes)?;
                answer.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        }
        '*' => {
            for _ in 0..rest.parse::<usize>().unwrap_or(0) {
                read(stream, answer)?;
                answer.push('\n');
            }
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(())
}
