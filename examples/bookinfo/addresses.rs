//! Where the processes listen, so that two runs at one time do not meet.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use crate::role::Role;

/// The addresses of one run.
#[derive(Debug)]
pub(crate) enum Addresses {
    /// Each process has an address of its own in `127.a.b.0/24`, on the port that services have.
    Own {
        prefix: [u8; 3],
        /// Held as long as the run lasts: whoever binds it has the prefix.
        _claim: TcpListener,
    },
    /// All on 127.0.0.1, each with a port the system chooses. Where only that address exists, as
    /// on macOS.
    Shared,
}

impl Addresses {
    /// A prefix nobody holds, or `Shared` where the system has one loopback address only.
    pub(crate) fn claim() -> Self {
        for _ in 0..ATTEMPTS {
            // 127.0 holds what people use by hand.
            let prefix = [127, fastrand::u8(1..), fastrand::u8(..)];
            match TcpListener::bind((address(prefix, CLAIM_HOST), SERVICE_PORT)) {
                Ok(claim) => return Self::Own { prefix, _claim: claim },
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(_) => break,
            }
        }
        Self::Shared
    }

    /// What to bind for a role; port 0 for one the system chooses.
    pub(crate) fn of(&self, role: Role) -> SocketAddr {
        match self {
            Self::Shared => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Self::Own { prefix, .. } => {
                let port = if role == Role::ControlPlane { XDS_PORT } else { SERVICE_PORT };
                SocketAddr::new(address(*prefix, 1 + role as u8), port)
            }
        }
    }
}

impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own { prefix: [a, b, c], .. } => {
                write!(f, "each on its address in {a}.{b}.{c}.0/24")
            }
            Self::Shared => f.write_str("each on its port of 127.0.0.1"),
        }
    }
}

fn address([a, b, c]: [u8; 3], host: u8) -> IpAddr {
    IpAddr::from([a, b, c, host])
}

/// Bookinfo's port, of every service.
const SERVICE_PORT: u16 = 9080;

/// Istio's port of plain xDS.
const XDS_PORT: u16 = 15010;

/// Beyond those of the roles.
const CLAIM_HOST: u8 = 254;

/// Of 65,280 prefixes; when so many are taken, something listens on all addresses.
const ATTEMPTS: usize = 16;
