use std::{net::TcpListener, process::Output, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::{
    harness::{PATIENCE, Store},
    products::items,
};

on_both_databases! {
    the_printed_lines_work
    a_second_start_finds_the_tables
    an_address_that_is_taken
}

pub(crate) async fn output(command: &mut Command) -> Output {
    let output = timeout(PATIENCE, command.output()).await;
    output.expect("it ends").expect("it can be started")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn the_printed_lines_work(store: Store) {
    let mut shop = store.start().await;
    let lines = shop.banner().await;
    let curls: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(curls.len(), 4, "{lines:?}");
    let mut answers = Vec::new();
    for line in curls {
        // Each in a shell of its own: nothing has to be kept between them.
        let output = output(Command::new("sh").arg("-c").arg(line)).await;
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        answers.push(answer);
    }
    let [product, order, payment, list] = &answers[..] else {
        unreachable!("four were counted")
    };
    assert_eq!(order["items"][0]["product_id"], product["id"]);
    assert_eq!(payment["order_id"], order["id"]);
    assert_eq!(payment["status"], "captured");
    let mut paid = order.clone();
    paid["status"] = "paid".into();
    assert_eq!(items(list)[0], paid);
}

async fn a_second_start_finds_the_tables(store: Store) {
    let shop = store.start().await;
    let id = shop.product(3).await;
    // Both at once, as in a rolling deploy.
    let other = store.start().await;
    assert_eq!(other.stock(&id).await, 3);
    assert_eq!(shop.stock(&id).await, 3);
}

async fn an_address_that_is_taken(store: Store) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = output(store.command().env("ORDERS_ADDR", &addr)).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = stderr(&output);
    assert!(
        stderr.contains(&format!("orders: cannot listen on {addr}: ")),
        "{stderr}"
    );
}

#[tokio::test]
async fn all_errors_of_the_environment_are_reported_at_once() {
    let store = Store::sqlite();
    for argument in [None, Some("--check-config")] {
        let mut command = store.command();
        command
            .args(argument)
            .env("ORDERS_ADDR", "localhost")
            .env("ORDERS_LOG", "xml")
            .env("ORDERS_CORS_ORIGINS", "shop.example.com")
            .env("DATABASE_URL", "mysql://u:s3cr3t@localhost/shop")
            .env("ORDERS_PAYMENT_URL", "https://pay.example.com")
            .env("REDIS_URL", "http://:s3cr3t@localhost")
            .env("FAKE_PROVIDER_FAIL_RATE", "2")
            .env("RUST_LOG", "orders=loud");
        let output = output(&mut command).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        assert_eq!(
            stderr(&output),
            "orders: ORDERS_ADDR is not an IP address and a port, such as 127.0.0.1:3000\n\
             orders: DATABASE_URL must begin with sqlite: or postgres:\n\
             orders: REDIS_URL is not of the form redis://user:password@host:6379/database\n\
             orders: ORDERS_PAYMENT_URL begins with https: this program has no TLS; use http\n\
             orders: FAKE_PROVIDER_FAIL_RATE is not a number from 0 to 1\n\
             orders: ORDERS_LOG is neither pretty nor json\n\
             orders: RUST_LOG is not a list of levels, such as info,orders=debug\n\
             orders: ORDERS_CORS_ORIGINS is neither * nor a list of origins such as \
             https://shop.example.com\n"
        );
    }
    assert!(!store.folder().join("orders.db").exists());
}

#[tokio::test]
async fn values_that_are_empty_or_no_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let store = Store::sqlite();
    let mut command = store.command();
    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff");
    command.env("DATABASE_URL", "").env("ORDERS_ADDR", not_utf8);
    let output = output(command.arg("--check-config")).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "orders: ORDERS_ADDR is not UTF-8\n\
         orders: DATABASE_URL is empty: give it a value or unset it\n"
    );
}

#[tokio::test]
async fn check_config_prints_everything_but_secrets() {
    let store = Store::sqlite();
    let output = output(store.command().arg("--check-config")).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "ORDERS_ADDR          127.0.0.1:3000\n\
         ORDERS_LOG           pretty\n\
         ORDERS_CORS_ORIGINS  none\n\
         ORDERS_PAYMENT_URL   built-in fake provider\n\
         ORDERS_HOOK_ATTEMPTS 15\n\
         DATABASE_URL         sqlite:orders.db\n\
         REDIS_URL            none\n\
         RUST_LOG             info\n"
    );
    assert!(
        !store.folder().join("orders.db").exists(),
        "nothing is opened"
    );
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file() {
    let store = Store::sqlite();
    let file = store.folder().join("url");
    std::fs::write(&file, "postgres://shop:s3cr3t@db.example.com/shop\n").unwrap();
    let redis = store.folder().join("redis");
    std::fs::write(&redis, "redis://:s3cr3t@cache.example.com/1\n").unwrap();
    let mut command = store.command();
    command
        .arg("--check-config")
        .env("DATABASE_URL_FILE", &file)
        .env("REDIS_URL_FILE", &redis)
        .env("FAKE_PROVIDER_RATE", "1")
        .env("ORDERS_ADR", "typo");
    let checked = output(&mut command).await;
    assert_eq!(checked.status.code(), Some(0));
    let shown = "DATABASE_URL         postgres://shop:***@db.example.com:5432/shop\n";
    assert!(stdout(&checked).contains(shown), "{}", stdout(&checked));
    let shown = "REDIS_URL            redis://***@cache.example.com:6379/1\n";
    assert!(stdout(&checked).contains(shown), "{}", stdout(&checked));
    assert!(!stdout(&checked).contains("s3cr3t"));
    assert_eq!(
        stderr(&checked),
        "orders: ORDERS_ADR is set, and means nothing here\n\
         orders: FAKE_PROVIDER_RATE is set, and means nothing here\n"
    );

    let both = output(command.env("DATABASE_URL", "sqlite:x.db")).await;
    assert_eq!(both.status.code(), Some(1));
    assert!(stderr(&both).contains("DATABASE_URL_FILE is set, and so is DATABASE_URL"));

    let mut command = store.command();
    command.env("DATABASE_URL_FILE", store.folder().join("missing"));
    let missing = output(&mut command).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("DATABASE_URL_FILE names a file that cannot be read"));
}

#[tokio::test]
async fn help_version_and_what_is_unknown() {
    let store = Store::sqlite();
    for argument in ["--help", "-h"] {
        let help = output(store.command().arg(argument)).await;
        assert_eq!(help.status.code(), Some(0));
        for part in [
            "Usage: orders",
            "worker",
            "--no-worker",
            "--check-config",
            "ORDERS_ADDR",
            "DATABASE_URL_FILE",
            "ORDERS_PAYMENT_URL",
            "REDIS_URL_FILE",
            "FAKE_PROVIDER_FAIL_RATE",
        ] {
            assert!(stdout(&help).contains(part), "{part}");
        }
    }
    let version = output(store.command().arg("--version")).await;
    assert_eq!(
        stdout(&version),
        format!("orders {}\n", env!("CARGO_PKG_VERSION"))
    );
    for arguments in [
        "--chek-config",
        "serve",
        "-x",
        "--help=yes",
        "worker --no-worker",
        "--no-worker worker",
    ] {
        let unknown = output(store.command().args(arguments.split(' '))).await;
        assert_eq!(unknown.status.code(), Some(2), "{arguments}");
        assert!(
            stderr(&unknown).contains("orders --help"),
            "{}",
            stderr(&unknown)
        );
        assert_eq!(stdout(&unknown), "");
    }
}

#[tokio::test]
async fn a_database_that_is_down_or_is_none() {
    let store = Store::sqlite();
    std::fs::write(
        store.folder().join("text.db"),
        "this is no database, whatever its name",
    )
    .unwrap();
    // A port that nobody listens on, once the listener is gone.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // One that takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_addr = silent.local_addr().unwrap();
    for (url, shown) in [
        (
            format!("postgres://shop:s3cr3t@{free}/shop"),
            format!("postgres://shop:***@{free}/shop"),
        ),
        (
            format!("postgres://shop:s3cr3t@{silent_addr}/shop"),
            format!("postgres://shop:***@{silent_addr}/shop"),
        ),
        (
            "sqlite:missing/folder/orders.db".to_owned(),
            "sqlite:missing/folder/orders.db".to_owned(),
        ),
        ("sqlite:text.db".to_owned(), "sqlite:text.db".to_owned()),
    ] {
        let mut command = store.command();
        command
            .env("DATABASE_URL", &url)
            .env("ORDERS_ADDR", "127.0.0.1:0");
        let output = timeout(Duration::from_secs(15), output(&mut command))
            .await
            .expect("in seconds");
        assert_eq!(output.status.code(), Some(1), "{url}");
        let stderr = stderr(&output);
        assert!(
            stderr.contains(&format!("orders: cannot open {shown}: ")),
            "{stderr}"
        );
        assert!(!stderr.contains("s3cr3t"), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(stdout(&output), "");
    }
}
