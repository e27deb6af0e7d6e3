//! The demo put together. Start: origin, then the adapter that reads from it, then the relays that join the adapter, then
//! the page that names them. Stop in the opposite order: viewers and page first, because they ask the relays; then the
//! relays; then what they asked.

use super::args::DemoArgs;
use super::console::Console;
use super::control::{Control, Token, Tokens};
use super::figures::{Audience, Figures, StatusLine};
use super::network::Network;
use super::origin::{Origin, OriginStats, serve};
use super::page::{self, Page};
use super::ports;
use super::readings::Readings;
use super::settlement;
use super::summary::{Course, Summary};
use super::viewers::Viewers;
use super::ward::Life;
use crate::exit::{DATA_DIRECTORY, Failure, PORT_BUSY, RUNTIME};
use crate::signals;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use weir_edge::doors::{DoorError, Doors, DoorsConfig};
use weir_origin::keys::PublisherKeys;

/// How often the relays are asked for their figures.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The adapter's data directory in the demo's.
const ADAPTER: &str = "adapter";
/// Browsers that the HTTP/3 command is made for, the first that is installed.
const CHROMIUMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the demo until Ctrl-C or, with `--seconds`, until its time is over.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    let stop = CancellationToken::new();
    signals::listen(stop.clone()).map_err(|error| Failure::new(RUNTIME, error))?;
    if let Some(address) = args.origin_only {
        return serve_origin(address, stop).await;
    }
    let home = Home::open(args.data.clone())?;
    let mut demo = tokio::select! {
        started = Demo::start(&args, home.path(), begun) => started?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let outcome = demo.play(&args, &stop).await;
    demo.console.clear();
    if stop.is_cancelled() {
        demo.console.line("Draining.");
    }
    let (console, ready) = demo.end().await;
    let Some(course) = outcome? else {
        return Ok(ExitCode::SUCCESS);
    };
    let summary = course.summary(ready);
    if args.json {
        let text = serde_json::to_string(&summary).map_err(|error| Failure::new(RUNTIME, error))?;
        use std::io::Write;
        writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::new(RUNTIME, error))?;
    } else {
        console.line(summary.to_string());
        if let Home::Kept(path) = &home {
            console.line(settlement::advice(path));
        }
    }
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::from(RUNTIME) })
}

/// The origin alone, until it is told to stop.
async fn serve_origin(address: SocketAddr, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let runtime = |error| Failure::new(RUNTIME, format!("cannot serve the origin at {address}: {error}"));
    let origin = Origin::new(Arc::default()).map_err(|error| Failure::new(RUNTIME, error))?;
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Failure::new(PORT_BUSY, format!("{address} is in use")),
        _ => runtime(error),
    })?;
    println!("http://{}", listener.local_addr().map_err(runtime)?);
    serve(listener, Arc::new(origin), stop).await.map_err(runtime)?;
    Ok(ExitCode::SUCCESS)
}

/// The directory of stores, keys and logs.
enum Home {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Home {
    fn open(kept: Option<PathBuf>) -> Result<Self, Failure> {
        match kept {
            Some(path) => match std::fs::create_dir_all(&path).and_then(|()| std::path::absolute(&path)) {
                Ok(path) => Ok(Self::Kept(path)),
                Err(error) => {
                    Err(Failure::new(DATA_DIRECTORY, format!("cannot use data directory {}: {error}", path.display())))
                }
            },
            None => tempfile::Builder::new().prefix("weir-demo-").tempdir().map(Self::Temporary).map_err(|error| {
                Failure::new(
                    DATA_DIRECTORY,
                    format!("cannot make a temporary directory: {error}; name one with --data DIR"),
                )
            }),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// Everything that runs.
struct Demo {
    console: Console,
    home: PathBuf,
    network: Network,
    readings: Readings,
    /// The origin and the page; neither ends before it is told to.
    own: JoinSet<Result<(), Failure>>,
    stop_page: CancellationToken,
    stop_origin: CancellationToken,
    ready: Duration,
}

/// What is left when the viewers have gone.
struct Played {
    viewers: Vec<weir_load::viewer::Summary>,
    figures: Figures,
    doors: [[SocketAddr; 2]; 3],
    incidents: Vec<String>,
}

impl Played {
    fn summary(&self, ready: Duration) -> Summary {
        Summary::of(&Course {
            viewers: &self.viewers,
            figures: &self.figures,
            doors: self.doors,
            ready_seconds: ready.as_secs_f64(),
            incidents: &self.incidents,
        })
    }
}

impl Demo {
    async fn start(args: &DemoArgs, home: &Path, begun: Instant) -> Result<Self, Failure> {
        let console = Console::new(args.json);
        let usual = !args.free_ports;
        let mut own = JoinSet::new();
        let (stop_page, stop_origin) = (CancellationToken::new(), CancellationToken::new());

        let stats = Arc::new(OriginStats::default());
        let origin = Arc::new(Origin::new(stats.clone()).map_err(|error| Failure::new(RUNTIME, error))?);
        let (listener, note) = listen(ports::ORIGIN, usual).await?;
        let address = listener.local_addr().map_err(|error| Failure::new(RUNTIME, error))?;
        own.spawn({
            let stop = stop_origin.clone();
            async move { serve(listener, origin, stop).await.map_err(|error| Failure::new(RUNTIME, error)) }
        });
        console.line(format!(
            "✔ origin      http://{address}   embedded clip: one live channel, one film, 3 renditions{note}"
        ));

        let network = Network::start(address, home, usual).await?;
        let (page, note) = bind_page(usual)?;
        let player = page.local_addrs().plain[0];
        let tokens = Tokens::of(&network.adapter_data).map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
        let control = Control::new(Token::random(), network.relays.clone(), Arc::new(tokens));
        let handler = Arc::new(Page::new(page::description(&network, args.h3), control));
        own.spawn({
            let stop = stop_page.clone();
            async move { Ok(page.run(handler, stop).await?) }
        });
        let [a, b, c] = network.ports.relays.map(|relay| relay.admin);
        let readings = Readings::new(network.ports.adapter_admin, [a, b, c], stats);
        settlement::write_policy(home)?;
        let demo = Self {
            console,
            home: home.to_owned(),
            network,
            readings,
            own,
            stop_page,
            stop_origin,
            ready: begun.elapsed(),
        };
        demo.introduce(args, home, player, &note);
        Ok(demo)
    }

    /// Says where everything is.
    fn introduce(&self, args: &DemoArgs, home: &Path, player: SocketAddr, note: &str) {
        let ports = &self.network.ports;
        let publisher: String = self.network.publisher.chars().take("pub-".len() + 4).collect();
        let say = |line: String| self.console.line(line);
        say(format!(
            "✔ adapter     http://{}   signing as {publisher}…{}",
            ports.adapter_http,
            busy(&ports.adapter_busy)
        ));
        let doors = ports.relays.map(|relay| relay.http.to_string()).join(" · ");
        let numbers = ports.relays.map(|relay| relay.tls.port());
        let tls =
            if numbers[0] == numbers[1] { numbers[0].to_string() } else { numbers.map(|n| n.to_string()).join(", ") };
        say(format!("✔ relays a, b, c  http://{doors}  (https and h3 on {tls}){}", busy(&ports.relays_busy)));
        say(format!("▶ Player      http://{player}/{note}"));
        if args.h3 {
            say(format!("▶ HTTP/3      {}", chromium(&self.network, player, home)));
        }
        say(format!("▶ Any player  http://{0}/film/master.m3u8   http://{0}/live/master.m3u8", ports.relays[0].http));
        let admin = ports.relays.map(|relay| relay.admin);
        say(if admin[0].port() == admin[1].port() {
            format!("▶ Metrics     http://127.0.0.{{1,2,3}}:{}/metrics", admin[0].port())
        } else {
            format!("▶ Metrics     {}", admin.map(|admin| format!("http://{admin}/metrics")).join("  "))
        });
        say(format!(
            "  ready in {:.1} s; logs in {}; Ctrl-C ends it",
            self.ready.as_secs_f64(),
            home.join("logs").display()
        ));
        if args.open {
            open_browser(&self.console, &format!("http://{player}/"));
        }
    }

    /// Shows the status until the end; with `--seconds` says what happened.
    async fn play(&mut self, args: &DemoArgs, stop: &CancellationToken) -> Result<Option<Played>, Failure> {
        let begun = Instant::now();
        let stop_viewers = stop.child_token();
        let mut viewers = match args.seconds {
            Some(seconds) => {
                let keys = PublisherKeys::load_or_create(&self.home.join(ADAPTER))?;
                let time = Duration::from_secs(seconds);
                Some(Viewers::start(&self.network.relays, &keys, time, &stop_viewers)?)
            }
            None => None,
        };
        let mut audience = Audience::default();
        let mut incidents = Vec::new();
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watching = async |viewers: &mut Option<Viewers>| match viewers {
            Some(viewers) => viewers.next().await,
            None => std::future::pending().await,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                told = watching(&mut viewers) => match told? {
                    Some(text) => self.console.line(text),
                    None => break,
                },
                Some(ended) = self.own.join_next() => {
                    ended.map_err(|error| Failure::new(RUNTIME, error))??;
                    return Err(Failure::new(RUNTIME, "the origin or the page stopped by itself"));
                }
                _ = ticks.tick() => {
                    incidents.extend(self.look_after()?);
                    let figures = self.readings.read().await;
                    let elapsed = begun.elapsed();
                    let viewers = audience.count(elapsed, &figures);
                    self.console.status(StatusLine { elapsed, viewers, figures: &figures }.to_string());
                }
            }
        }
        let Some(mut viewers) = viewers else { return Ok(None) };
        if stop.is_cancelled() {
            incidents.push(format!("stopped after {:.0} s", begun.elapsed().as_secs_f64()));
        }
        while let Some(text) = viewers.next().await? {
            self.console.line(text);
        }
        incidents.extend(self.look_after()?);
        Ok(Some(Played {
            viewers: viewers.into_summaries(),
            figures: self.readings.read().await,
            doors: self.network.ports.relays.map(|relay| [relay.http, relay.tls]),
            incidents,
        }))
    }

    /// Tells of children that ended by themselves. The demo goes on without them, for that is what relays are for, until
    /// none is left; one that somebody killed on purpose may come back.
    fn look_after(&mut self) -> Result<Vec<String>, Failure> {
        let relays = self.network.relays.iter().map(|relay| relay.ward.has_ended());
        let ended: Vec<String> = std::iter::once(self.network.adapter.has_ended()).chain(relays).flatten().collect();
        for text in &ended {
            self.console.line(format!("! {text}"));
        }
        if self.network.relays.iter().any(|relay| relay.ward.condition().state != Life::Ended) {
            Ok(ended)
        } else {
            Err(Failure::new(RUNTIME, "no relay is left"))
        }
    }

    async fn end(mut self) -> (Console, Duration) {
        self.stop_page.cancel();
        self.network.end().await;
        self.stop_origin.cancel();
        while let Some(ended) = self.own.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!(%error, "while ending");
            }
        }
        (self.console, self.ready)
    }
}

/// Listens on loopback, on the usual port if it is free. The note says that it was not.
async fn listen(usual: u16, wanted: bool) -> Result<(TcpListener, String), Failure> {
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let failed = |error| Failure::new(RUNTIME, format!("cannot listen on loopback: {error}"));
    if !wanted {
        return Ok((at(0).await.map_err(failed)?, String::new()));
    }
    match at(usual).await {
        Ok(listener) => Ok((listener, String::new())),
        Err(_) => Ok((at(0).await.map_err(failed)?, busy(&[usual]))),
    }
}

fn bind_page(wanted: bool) -> Result<(Doors, String), DoorError> {
    let at = |port| Doors::bind(DoorsConfig::plain(vec![(Ipv4Addr::LOCALHOST, port).into()]));
    if !wanted {
        return Ok((at(0)?, String::new()));
    }
    match at(ports::PAGE) {
        Ok(doors) => Ok((doors, String::new())),
        Err(_) => Ok((at(0)?, busy(&[ports::PAGE]))),
    }
}

fn busy(ports: &[u16]) -> String {
    match ports {
        [] => String::new(),
        [port] => format!("   (port {port} was busy)"),
        several => {
            let list: Vec<String> = several.iter().map(u16::to_string).collect();
            format!("   (ports {} were busy)", list.join(", "))
        }
    }
}

/// The command that makes Chromium speak HTTP/3 with the relays: it trusts their one certificate and needs no earlier
/// visit over TCP. A profile of its own, because a running browser would ignore the flags.
fn chromium(network: &Network, player: SocketAddr, home: &Path) -> String {
    let installed = |name: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
    };
    let program = CHROMIUMS.iter().find(|name| installed(name)).unwrap_or(&CHROMIUMS[0]);
    let quic = network.ports.relays.map(|relay| relay.tls.to_string()).join(",");
    format!(
        "{program} --user-data-dir={} --no-first-run --origin-to-force-quic-on={quic} \
         --ignore-certificate-errors-spki-list={} 'http://{player}/?h3=1'",
        home.join("chromium").display(),
        network.spki
    )
}

fn open_browser(console: &Console, url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program);
    // The browser may outlive the demo, so nobody waits for it.
    let started =
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    if let Err(error) = started {
        console.line(format!("! cannot open a browser with {program} ({error}); open {url} yourself"));
    }
}
