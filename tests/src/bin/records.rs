//! As `meshctl check-routes`, but over sockets: an answer a line for each record of the file.

use std::io::Write as _;

use mesh_tests::records::Records;
use mesh_tower::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let file = std::env::args().nth(1).ok_or("usage: records-over-sockets FILE")?;
    let mut records = Records::default();
    let mut out = std::io::stdout().lock();
    for line in std::fs::read_to_string(file)?.lines() {
        writeln!(out, "{}", records.answer(&serde_json::from_str(line)?).await)?;
    }
    Ok(())
}
