//! The whole detector against one that keeps lists and reads like the documentation.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Attempts(usize, u8, usize),
    Sweep(u64),
}

/// One endpoint: everything that happened, newest last.
#[derive(Clone, Default)]
struct Host {
    /// Statuses since it was last in use anew; for runs of failures.
    statuses: Vec<u16>,
    connects: Vec<bool>,
    /// What happened in this interval.
    answers: Vec<bool>,
    reached: Vec<bool>,
    out_since: Option<u64>,
    back_since: Option<u64>,
    multiplier: u64,
}

struct Model {
    spec: OutlierDetection,
    dialect: Dialect,
    hosts: Vec<Host>,
    now: u64,
}

impl Model {
    fn eject(&mut self, host: usize, enforcing: u32) {
        let out = self.hosts.iter().filter(|host| host.out_since.is_some()).count() as f64;
        let all = self.hosts.len() as f64;
        let most = f64::from(self.spec.max_ejection_percent.min(100));
        let fits = match self.dialect {
            Dialect::Http => {
                (out + 1.0) / all * 100.0 <= most + 1e-9
                    || (self.spec.always_eject_one_host && out == 0.0)
            }
            Dialect::Grpc => out / all * 100.0 < most - 1e-9,
        };
        if self.hosts[host].out_since.is_none() && fits && enforcing == 100 {
            let (base, max) =
                (self.spec.base_ejection_time.as_secs(), self.spec.max_ejection_time.as_secs());
            let host = &mut self.hosts[host];
            host.out_since = Some(self.now);
            if self.dialect == Dialect::Grpc || host.multiplier * base < max + base {
                host.multiplier += 1;
            }
        }
    }

    fn answer(&mut self, at: usize, status: u16) {
        let host = &mut self.hosts[at];
        host.statuses.push(status);
        host.answers.push(status < 500);
        let run = |holds: fn(&u16) -> bool| {
            host.statuses.iter().rev().take_while(|status| holds(status)).count() as u32
        };
        let gateway = run(|status| (502..505).contains(status));
        let failures = run(|status| *status >= 500);
        let due_gateway = gateway > 0 && gateway % self.spec.consecutive_gateway_failure == 0;
        let due_5xx = failures > 0 && failures % self.spec.consecutive_5xx == 0;
        // The runs are counted in multiples while it is in: a denied ejection begins anew.
        if host.out_since.is_none() {
            if due_gateway {
                self.eject(at, self.spec.enforcing_consecutive_gateway_failure);
            }
            if due_5xx {
                self.eject(at, self.spec.enforcing_consecutive_5xx);
            }
        }
    }

    fn connect(&mut self, at: usize, connected: bool) {
        let host = &mut self.hosts[at];
        host.reached.push(connected);
        host.connects.push(connected);
        let run = host.connects.iter().rev().take_while(|connected| !**connected).count() as u32;
        let due = run > 0 && run.is_multiple_of(self.spec.consecutive_local_origin_failure);
        if due && host.out_since.is_none() {
            self.eject(at, self.spec.enforcing_consecutive_local_origin_failure);
        }
    }

    fn attempt(&mut self, at: usize, observed: Observed) {
        if self.dialect == Dialect::Grpc {
            let ok = match observed {
                Observed::ConnectFailure => return,
                Observed::Status(status) => status == 200,
                Observed::Call { status } => status == 0,
                _ => false,
            };
            return self.hosts[at].answers.push(ok);
        }
        let split = self.spec.split_external_local_origin_errors;
        match observed {
            Observed::Status(status) => {
                if split {
                    self.connect(at, true);
                }
                self.answer(at, status.as_u16());
            }
            Observed::Call { .. } => unreachable!("not among the events"),
            Observed::ConnectFailure if split => self.connect(at, false),
            _ if split => {
                self.connect(at, true);
                self.connect(at, false);
            }
            Observed::Timeout => self.answer(at, 504),
            _ => self.answer(at, 503),
        }
    }

    fn give_back(&mut self) {
        let (base, max) =
            (self.spec.base_ejection_time.as_secs(), self.spec.max_ejection_time.as_secs());
        for host in &mut self.hosts {
            let Some(since) = host.out_since else { continue };
            let end = since + (host.multiplier * base).min(max.max(base));
            if self.now > end || (self.now == end && self.dialect == Dialect::Http) {
                host.out_since = None;
                host.back_since = Some(self.now);
                host.statuses.clear();
                host.connects.clear();
            }
        }
    }

    fn rates(&mut self, lists: &[Vec<bool>], success_rate: u32, percentage: u32) {
        let grpc = self.dialect == Dialect::Grpc;
        let rates = |volume: u32, hosts: &[Host]| -> Vec<(usize, f64)> {
            let busy = lists.iter().enumerate().filter(|(at, list)| {
                !list.is_empty()
                    && list.len() >= volume as usize
                    && (grpc || hosts[*at].out_since.is_none())
            });
            busy.map(|(at, list)| {
                let good = list.iter().filter(|ok| **ok).count() as f64;
                (at, good / list.len() as f64)
            })
            .collect()
        };
        let compared = rates(self.spec.success_rate_request_volume, &self.hosts);
        let failing = rates(self.spec.failure_percentage_request_volume, &self.hosts);
        if !compared.is_empty() && compared.len() as u32 >= self.spec.success_rate_minimum_hosts {
            let mean = compared.iter().map(|(_, r)| r).sum::<f64>() / compared.len() as f64;
            let square = compared.iter().map(|(_, r)| (r - mean) * (r - mean)).sum::<f64>();
            let deviation = (square / compared.len() as f64).sqrt();
            let factor = f64::from(self.spec.success_rate_stdev_factor) / 1000.0;
            for (at, rate) in compared {
                if rate < mean - deviation * factor - 1e-12 {
                    self.eject(at, success_rate);
                }
            }
        }
        if !failing.is_empty() && failing.len() as u32 >= self.spec.failure_percentage_minimum_hosts
        {
            let limit = f64::from(self.spec.failure_percentage_threshold);
            for (at, rate) in failing {
                let failed = 100.0 - rate * 100.0;
                if failed > limit + 1e-9 || (!grpc && (failed - limit).abs() < 1e-9) {
                    self.eject(at, percentage);
                }
            }
        }
    }

    fn sweep(&mut self, passed: u64) {
        self.now += passed;
        let take = |list: fn(&mut Host) -> &mut Vec<bool>, hosts: &mut Vec<Host>| {
            hosts.iter_mut().map(|host| std::mem::take(list(host))).collect::<Vec<_>>()
        };
        let answers = take(|host| &mut host.answers, &mut self.hosts);
        let reached = take(|host| &mut host.reached, &mut self.hosts);
        let spec = self.spec.clone();
        if self.dialect == Dialect::Grpc {
            self.rates(&answers, spec.enforcing_success_rate, spec.enforcing_failure_percentage);
            for host in self.hosts.iter_mut().filter(|host| host.out_since.is_none()) {
                host.multiplier = host.multiplier.saturating_sub(1);
            }
            return self.give_back();
        }
        self.give_back();
        self.rates(&answers, spec.enforcing_success_rate, spec.enforcing_failure_percentage);
        if spec.split_external_local_origin_errors {
            let (success, failure) = (
                spec.enforcing_local_origin_success_rate,
                spec.enforcing_failure_percentage_local_origin,
            );
            self.rates(&reached, success, failure);
        }
        for host in self.hosts.iter_mut().filter(|host| host.out_since.is_none()) {
            if host.back_since.is_some_and(|since| self.now - since >= spec.interval.as_secs()) {
                host.multiplier = host.multiplier.saturating_sub(1);
            }
        }
    }
}

fn observed(number: u8) -> Observed {
    match number {
        0..=2 => status(200),
        3 => status(404),
        4 => status(500),
        5 => status(503),
        6 => Observed::ConnectFailure,
        7 => Observed::Reset,
        _ => Observed::Timeout,
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        9 => (0..6_usize, 0..9_u8, 1..7_usize).prop_map(|(h, o, n)| Event::Attempts(h, o, n)),
        2 => (1..25_u64).prop_map(Event::Sweep),
    ]
}

fn spec() -> impl Strategy<Value = OutlierDetection> {
    let switch = || prop::sample::select(vec![0_u32, 100]);
    let switches = prop::collection::vec(switch(), 7);
    let numbers = (1..4_u32, 1..4_u32, 1..4_u32, 1..6_u32, 1..12_u32, 200..2000_u32);
    let more = (10..101_u32, any::<bool>(), any::<bool>(), 1..12_u64, 5..40_u64);
    (switches, numbers, more).prop_map(|(on, numbers, more)| {
        let mut spec = OutlierDetection::new();
        spec.enforcing_consecutive_5xx = on[0];
        spec.enforcing_consecutive_gateway_failure = on[1];
        spec.enforcing_consecutive_local_origin_failure = on[2];
        spec.enforcing_success_rate = on[3];
        spec.enforcing_local_origin_success_rate = on[4];
        spec.enforcing_failure_percentage = on[5];
        spec.enforcing_failure_percentage_local_origin = on[6];
        let (five, gateway, local, hosts, volume, factor) = numbers;
        spec.consecutive_5xx = five + 2;
        spec.consecutive_gateway_failure = gateway + 1;
        spec.consecutive_local_origin_failure = local + 1;
        spec.success_rate_minimum_hosts = hosts;
        spec.failure_percentage_minimum_hosts = hosts;
        spec.success_rate_request_volume = volume;
        spec.failure_percentage_request_volume = volume / 2;
        spec.success_rate_stdev_factor = factor;
        let (share, always, split, base, max) = more;
        spec.failure_percentage_threshold = share;
        spec.max_ejection_percent = share;
        spec.always_eject_one_host = always;
        spec.split_external_local_origin_errors = split;
        spec.base_ejection_time = s(base);
        spec.max_ejection_time = s(max.max(base));
        spec
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_model(
        spec in spec(),
        grpc in any::<bool>(),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let dialect = if grpc { Dialect::Grpc } else { Dialect::Http };
        let works = !grpc || spec.enforcing_success_rate + spec.enforcing_failure_percentage > 0;
        prop_assume!(works);
        let mut bench = Bench::new(dialect, 6, spec.clone());
        let hosts = vec![Host::default(); 6];
        let mut model = Model { spec, dialect, hosts, now: 0 };
        for event in events {
            match event {
                Event::Attempts(host, what, times) => for _ in 0..times {
                    bench.observe(host, observed(what));
                    model.attempt(host, observed(what));
                },
                Event::Sweep(passed) => {
                    bench.sweep_after(s(passed));
                    model.sweep(passed);
                }
            }
            let out: Vec<usize> =
                (0..6).filter(|host| model.hosts[*host].out_since.is_some()).collect();
            prop_assert_eq!(bench.out(), out.clone(), "after {:?}", event);
            prop_assert_eq!(bench.detector.ejected() as usize, out.len());
            for (record, host) in bench.records.iter().zip(&model.hosts) {
                prop_assert_eq!(u64::from(record.multiplier()), host.multiplier);
            }
        }
    }
}
