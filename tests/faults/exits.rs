//! Wrong starts: one clear line, and the exit code that says which kind of mistake it was.

use std::{fs, net::TcpListener, path::Path};
use tempfile::TempDir;

use super::harness::process::Process;

/// Ends with this code and one line on standard error that contains each of these words.
async fn refuses(args: &[&str], code: i32, words: &[&str]) {
    let (found, text) = Process::refused(args).await;
    assert_eq!(found, Some(code), "weir {args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "weir {args:?} does not say {word:?}: {text}");
    }
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
}

/// Flags of an edge that would start, apart from what is tested.
fn edge<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let loopback = ["edge", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let data = ["--data", data.to_str().unwrap()];
    loopback.into_iter().chain(data).chain(more.iter().copied()).collect()
}

const NOWHERE: &str = "http://127.0.0.1:9/";

#[tokio::test]
async fn a_busy_port_is_69_and_names_the_address() {
    let data = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(&edge(data.path(), &["--upstream", NOWHERE, "--http", &address]), 69, &[&address]).await;
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let folder = data.path().to_str().unwrap();
    let origin = ["origin", "--upstream", folder, "--data", folder, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let origin: Vec<&str> = origin.into_iter().chain(["--peer", address.as_str()]).collect();
    refuses(&origin, 69, &[&address]).await;
}

#[tokio::test]
async fn a_bad_certificate_is_78() {
    let data = TempDir::new().unwrap();
    let path = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("garbage.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(path("empty.pem"), "").unwrap();
    for (certificate, key) in
        [("garbage.pem", "garbage.pem"), ("empty.pem", "empty.pem"), ("missing.pem", "missing.pem")]
    {
        let (certificate, key) = (path(certificate), path(key));
        let args = edge(data.path(), &["--upstream", NOWHERE, "--cert", &certificate, "--key", &key]);
        refuses(&args, 78, &[&certificate]).await;
    }
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_73() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    refuses(&edge(&file, &["--upstream", NOWHERE]), 73, &[file.to_str().unwrap()]).await;
    // The cache's place is taken by a file.
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("cache"), "not a directory").unwrap();
    refuses(&edge(&data, &["--upstream", NOWHERE]), 73, &["cache"]).await;
    fs::write(data.join("identity.key"), "short").unwrap();
    refuses(&edge(&data, &["--upstream", NOWHERE]), 73, &["identity.key"]).await;
}

#[tokio::test]
async fn a_wrong_configuration_is_78_and_names_the_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("weir.toml");
    let path = file.to_str().unwrap();
    let start = ["edge", "--config", path];
    refuses(&start, 78, &[path]).await;
    fs::write(&file, "[edge]\nupstream = \"http://127.0.0.1:9/\"\nlissten = [\"127.0.0.1:0\"]\n").unwrap();
    refuses(&start, 78, &["line 3", "lissten", "listen"]).await;
    fs::write(&file, "[edge\n").unwrap();
    refuses(&start, 78, &["line 1"]).await;
    fs::write(&file, "[edge]\nupstream = \"http://127.0.0.1:9/\"\nmemory = \"much\"\n").unwrap();
    refuses(&start, 78, &["much"]).await;
    fs::write(&file, "[edge]\nupstream = \"http://127.0.0.1:9/\"\njoin = [\"http://127.0.0.1:9/\"]\n").unwrap();
    refuses(&start, 78, &["join", "upstream", "both"]).await;
    let data = directory.path();
    refuses(&edge(data, &["--upstream", NOWHERE, "--join", NOWHERE]), 78, &["join", "upstream", "both"]).await;
    refuses(&edge(data, &["--upstream", NOWHERE, "--cert", path]), 78, &["cert", "key"]).await;
}

#[tokio::test]
async fn a_network_that_cannot_be_reached_the_first_time_is_1() {
    let data = TempDir::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/");
    refuses(&edge(data.path(), &["--join", &url]), 1, &[&url, "fetch"]).await;
}

#[tokio::test]
async fn nothing_to_do_is_said_plainly() {
    let data = TempDir::new().unwrap();
    refuses(&[], 2, &["Usage"]).await;
    refuses(&["edge", "--no-such-flag"], 2, &["--no-such-flag"]).await;
    refuses(&edge(data.path(), &[]), 78, &["--join", "--upstream"]).await;
    refuses(&["origin", "--data", data.path().to_str().unwrap()], 78, &["--upstream"]).await;
    let missing = data.path().join("no-such-folder");
    let missing = missing.to_str().unwrap();
    refuses(&["origin", "--upstream", missing, "--data", data.path().to_str().unwrap()], 78, &[missing]).await;
}
