use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsError, OtherError};

use super::Refused;
use crate::LoadError;

/// Why a handshake came to nothing: what we did not believe, or what the other side did not.
///
/// In TLS 1.3 a server looks at a client's certificate when the client has done its part: that it
/// is refused is then said with the first bytes read.
#[derive(Clone, Debug)]
pub struct HandshakeError(Reason);

#[derive(Clone, Debug)]
enum Reason {
    /// By a rule of ours.
    Refused(Arc<LoadError>),
    /// By one of TLS, or by the other side.
    Tls(TlsError),
    /// Of a connection that ended.
    Io(Arc<io::Error>),
}

impl HandshakeError {
    /// What ended a handshake.
    pub fn new(error: io::Error) -> Self {
        Self(match tls_error(&error).map(|error| (refused(error), error)) {
            Some((Some(ours), _)) => Reason::Refused(ours),
            Some((None, theirs)) => Reason::Tls(theirs.clone()),
            None => Reason::Io(Arc::new(error)),
        })
    }

    /// What the other side says of the handshake in an error of reading; gives back any other.
    ///
    /// # Errors
    /// The error, when it says no such thing.
    pub fn told(error: io::Error) -> Result<Self, io::Error> {
        match tls_error(&error) {
            Some(told @ TlsError::AlertReceived(_)) => Ok(Self(Reason::Tls(told.clone()))),
            _ => Err(error),
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// The rule of ours that ended it, if one did.
fn refused(error: &TlsError) -> Option<Arc<LoadError>> {
    match error {
        TlsError::Other(OtherError(ours))
        | TlsError::InvalidCertificate(CertificateError::Other(OtherError(ours))) => {
            ours.downcast_ref::<Refused>().map(|ours| ours.0.clone())
        }
        _ => None,
    }
}

fn text(error: &TlsError) -> &'static str {
    use AlertDescription as Alert;
    match error {
        TlsError::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "the peer's certificate is by no authority that is believed"
            }
            // Another authority of the same name.
            CertificateError::BadSignature => {
                "the peer's certificate is not signed by the authority that it names"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the peer's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the peer's certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the peer's certificate is not for the name that is asked for"
            }
            _ => "the peer's certificate is not good",
        },
        TlsError::NoCertificatesPresented | TlsError::AlertReceived(Alert::CertificateRequired) => {
            "a certificate is wanted, and none was shown"
        }
        TlsError::AlertReceived(Alert::UnknownCA) => {
            "the peer does not believe the authority of our certificate"
        }
        TlsError::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => "the peer refused our certificate",
        TlsError::AlertReceived(Alert::UnrecognisedName) => {
            "the peer does not know the name that is asked for"
        }
        TlsError::NoApplicationProtocol | TlsError::AlertReceived(Alert::NoApplicationProtocol) => {
            "the two sides have no protocol in common (ALPN)"
        }
        TlsError::AlertReceived(_) => "the peer ended it",
        TlsError::InvalidMessage(_) => "the peer does not speak TLS",
        TlsError::PeerIncompatible(_) => "the two sides have no way to speak TLS in common",
        _ => "TLS failed",
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Refused(ours) => ours.fmt(f),
            Reason::Tls(error) => f.write_str(text(error)),
            Reason::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the peer closed the connection in the handshake")
            }
            Reason::Io(_) => f.write_str("the connection failed in the handshake"),
        }
    }
}

impl Error for HandshakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Refused(ours) => ours.source(),
            Reason::Tls(error) => Some(error),
            Reason::Io(error) => Some(&**error),
        }
    }
}
