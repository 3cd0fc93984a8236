//! Where clients come from and backends are: IPv4, IPv6, names, more than one of each.

mod support;

use std::net::TcpListener;

use support::{Backend, Rondel, echo, get};

#[test]
fn a_name_with_two_addresses_is_one_backend() {
    // The first address that `localhost` may have refuses, the second answers.
    let backend = Backend::echo("four");
    let name = format!("localhost:{}", backend.addr.port());
    let args = ["--listen", "127.0.0.1:0", "--backend", &name].map(str::to_owned);
    let rondel = Rondel::start_with(&args);
    let mut client = rondel.connect();
    for _ in 0..4 {
        assert_eq!(client.ask(&get("/")).field("x-backend"), Some("four"));
    }
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn a_backend_is_found_at_whichever_address_of_its_name_it_is() {
    // Where `localhost` has both, the backend is at one of them in turn, and the other refuses.
    for ip in ["127.0.0.1", "[::1]"] {
        let Ok(listener) = TcpListener::bind(format!("{ip}:0")) else {
            continue;
        };
        let name = format!("localhost:{}", listener.local_addr().unwrap().port());
        let found = std::net::ToSocketAddrs::to_socket_addrs(&name).unwrap();
        if !found
            .into_iter()
            .any(|addr| Some(addr) == listener.local_addr().ok())
        {
            continue;
        }
        let backend = Backend::on(listener, |conn, _| echo(conn, "there"));
        let args = [
            "--listen",
            "127.0.0.1:0",
            "--retries",
            "0",
            "--backend",
            &name,
        ];
        let rondel = Rondel::start_with(&args.map(str::to_owned));
        for n in 1..4 {
            assert_eq!(
                rondel
                    .connect()
                    .ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    .status(),
                200
            );
            assert_eq!(backend.connections(), 1, "{n}");
        }
    }
}

#[test]
fn clients_and_backends_may_be_ipv6() {
    // A machine without IPv6 has nothing to show here.
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let backend = Backend::on(listener, |conn, _| echo(conn, "six"));
    let addr = backend.addr.to_string();
    let args = [
        "--listen",
        "[::1]:0",
        "--backend",
        &addr,
        "--forwarded",
        "--trust",
        "::1",
    ];
    let rondel = Rondel::start_with(&args.map(str::to_owned));
    assert!(rondel.addr.is_ipv6());
    let request = "GET / HTTP/1.1\r\nHost: [::1]:8\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n";
    let text = rondel.connect().ask(request).text();
    assert!(text.starts_with("six\n"));
    assert!(
        text.contains("\nX-Forwarded-For: 2001:db8::1, ::1\n"),
        "{text}"
    );
    let own = "\nForwarded: for=\"[::1]\";host=\"[::1]:8\";proto=http\n";
    assert!(text.contains(own), "{text}");
    let without_host = rondel.connect().ask("GET / HTTP/1.0\r\n\r\n").text();
    assert!(
        without_host.contains(&format!("\nHost: {}\n", rondel.addr)),
        "{without_host}"
    );
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_is_told_as_ipv4() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let backend = Backend::echo("a").addr.to_string();
    let args = [
        "--listen",
        "[::]:0",
        "--backend",
        &backend,
        "--trust",
        "127.0.0.1",
    ];
    let mut rondel = Rondel::start_with(&args.map(str::to_owned));
    rondel.addr = ([127, 0, 0, 1], rondel.addr.port()).into();
    let text = rondel
        .connect()
        .ask("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        .text();
    assert!(
        text.contains("\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\n"),
        "{text}"
    );
    let without_host = rondel.connect().ask("GET / HTTP/1.0\r\n\r\n").text();
    let host = format!("\nHost: {}\n", rondel.addr);
    assert!(without_host.contains(&host), "{without_host}");
}

#[test]
fn a_host_that_stands_in_for_none_is_the_address_that_the_client_reached() {
    let backend = Backend::echo("a").addr.to_string();
    let args = ["--listen", ":0", "--backend", &backend].map(str::to_owned);
    let mut rondel = Rondel::start_with(&args);
    assert!(rondel.addr.ip().is_unspecified());
    for ip in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        rondel.addr = (ip, rondel.addr.port()).into();
        let text = rondel.connect().ask("GET / HTTP/1.0\r\n\r\n").text();
        let host = format!("\nHost: {0}\n", rondel.addr);
        let told = format!("\nX-Forwarded-Host: {0}\n", rondel.addr);
        assert!(text.contains(&host) && text.contains(&told), "{text}");
    }
}
