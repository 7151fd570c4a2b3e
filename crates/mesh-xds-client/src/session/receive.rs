//! Taking in a response: every resource is decoded, the good ones apply, the bad ones are named.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mesh_core::finding::FailureKind;
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource, ResourceError,
};
use mesh_pb::google::rpc::Code;

use super::directory::{AuthorityIndex, ServerIndex};
use super::failing::OldValue;
use super::watched::Accepted;
use super::{Response, Session, name, wire};
use crate::decode::{self, Raw, Refusal};

/// The longest refusal text, in bytes: it travels in every NACK, and a server logs it.
const REFUSAL_LIMIT: usize = 8 << 10;

/// One response while it is taken in.
struct Intake {
    kind: ResourceType,
    server: ServerIndex,
    old: OldValue,
    now: Instant,
    /// The names that occurred.
    seen: HashSet<Name>,
    refusals: Vec<(usize, Refusal)>,
    count: usize,
    /// Whether anything but heartbeats came.
    has_news: bool,
}

impl Session {
    /// Takes in a response of the server. One that is not of the stream's protocol, or comes
    /// without a stream, is passed over.
    pub fn receive(&mut self, server: ServerIndex, response: impl Into<Response>, now: Instant) {
        if !self.streams[server.get()].is_up {
            return;
        }
        match (response.into(), self.protocol(server)) {
            (Response::StateOfTheWorld(response), super::Protocol::StateOfTheWorld) => {
                self.receive_all(server, response, now);
            }
            (Response::Delta(response), super::Protocol::Delta) => {
                self.receive_changes(server, response, now);
            }
            _ => {}
        }
    }

    fn receive_all(&mut self, server: ServerIndex, response: DiscoveryResponse, now: Instant) {
        self.reached(server);
        let Some(mut intake) = self.intake(server, &response.type_url, now) else { return };
        let kind = intake.kind;
        intake.count = response.resources.len();
        if intake.count > 0 {
            self.step_up(server);
        }
        let version: Name = response.version_info.as_str().into();
        for (index, resource) in response.resources.into_iter().enumerate() {
            let taken = decode::unwrap(kind, resource)
                .and_then(|raw| self.receive_one(&mut intake, raw, &[], &version));
            intake.note(index, taken);
        }
        intake.seen.extend(response.resource_errors.iter().map(name_of));
        // Heartbeats alone are not all there are.
        let is_whole = intake.has_news || intake.seen.is_empty();
        if is_whole && matches!(kind, ResourceType::Listener | ResourceType::Cluster) {
            self.remove_absent(&intake);
        }
        self.receive_errors(&intake, &response.resource_errors);
        let refused = self.refusal_text(&intake, &version);
        let wire = &mut self.streams[server.get()].wire;
        wire.answer(kind, response.version_info, response.nonce, refused);
    }

    fn receive_changes(
        &mut self,
        server: ServerIndex,
        response: DeltaDiscoveryResponse,
        now: Instant,
    ) {
        self.reached(server);
        let Some(mut intake) = self.intake(server, &response.type_url, now) else { return };
        let kind = intake.kind;
        intake.count = response.resources.len();
        if !response.resources.is_empty() || !response.removed_resources.is_empty() {
            self.step_up(server);
        }
        for (index, resource) in response.resources.into_iter().enumerate() {
            let taken = self.receive_change(&mut intake, resource);
            intake.note(index, taken);
        }
        let named = response.removed_resource_names.into_iter().map(|name| name.name);
        for name in response.removed_resources.into_iter().chain(named) {
            let name: Name = name::canonical(&name).unwrap_or_else(|| name.into());
            // What is removed and sent again in one response is there.
            if !intake.seen.contains(&name) {
                self.remove(&intake, ResourceId::new(kind, name));
            }
        }
        self.receive_errors(&intake, &response.resource_errors);
        let refused = self.refusal_text(&intake, &response.system_version_info);
        let wire = &mut self.streams[server.get()].wire;
        wire.answer(kind, String::new(), response.nonce, refused);
    }

    fn intake(&self, server: ServerIndex, type_url: &str, now: Instant) -> Option<Intake> {
        let Some(kind) = wire::kind_of(type_url) else {
            // Not answered: a request for this type without names would subscribe to all of it.
            tracing::warn!(%type_url, "response of a type that was not asked for");
            return None;
        };
        let old = self.streams[server.get()].old_value();
        let (seen, refusals) = (HashSet::new(), Vec::new());
        Some(Intake { kind, server, old, now, seen, refusals, count: 0, has_news: false })
    }

    fn receive_change(
        &mut self,
        intake: &mut Intake,
        mut resource: Resource,
    ) -> Result<(), Refusal> {
        let kind = intake.kind;
        let version: Name = resource.version.as_str().into();
        let aliases = std::mem::take(&mut resource.aliases);
        let raw = decode::unwrap_resource(kind, resource)?;
        self.receive_one(intake, raw, &aliases, &version)
    }

    fn receive_one(
        &mut self,
        intake: &mut Intake,
        raw: Raw,
        aliases: &[String],
        version: &Name,
    ) -> Result<(), Refusal> {
        let (kind, now, origin) = (intake.kind, intake.now, intake.server);
        let name = name::canonical(&raw.name).unwrap_or(raw.name);
        // The name it was asked for by, which others hold as well, and not one more copy.
        let name = self.store.known_name(kind, &name).cloned().unwrap_or(name);
        let id = ResourceId::new(kind, name);
        if !intake.seen.insert(id.name.clone()) {
            return Err(Refusal::of(&id, "", "occurs twice in one response"));
        }
        if !self.serves(origin, &id.name) {
            return Ok(());
        }
        // Other names by which it was asked for (xDS resource aliases).
        let aliases = aliases
            .iter()
            .filter(|alias| self.store.get(kind, alias).is_some() && self.serves(origin, alias));
        let aliases: Vec<ResourceId> =
            aliases.map(|alias| ResourceId::new(kind, alias.as_str())).collect();
        if let Some(of) = &raw.heartbeat {
            return self.renew(aliases.into_iter().chain([id]), raw.ttl, [of, version], now);
        }
        intake.has_news = true;
        let mut ids = aliases.iter().chain([&id]);
        if ids.all(|id| self.store.is_unchanged(kind, &id.name, &raw.bytes)) {
            for id in aliases.iter().chain([&id]) {
                self.store.lifetimes.set(id, raw.ttl, now);
                self.store.accept_unchanged(id, version, origin, now);
            }
            return Ok(());
        }
        let known = self.store.get(kind, &id.name);
        let known = known.and_then(|known| Some((&known.bytes[..], known.value.as_ref()?)));
        match decode::decode_after(&self.context, &id, &raw.bytes, known) {
            Ok(value) => {
                let made =
                    |value, bytes| Accepted { value, bytes, version: version.clone(), origin };
                for id in aliases.iter().chain([&id]) {
                    self.store.lifetimes.set(id, raw.ttl, now);
                }
                for alias in &aliases {
                    self.store.accept(alias, made(value.clone(), raw.bytes.clone()), now);
                }
                self.store.accept(&id, made(value, raw.bytes), now);
                Ok(())
            }
            Err(refusal) => {
                let text = format!("refused: {}", refusal.reason());
                for id in aliases.iter().chain([&id]) {
                    self.store.refuse(id, &text, intake.old, now);
                }
                Err(refusal)
            }
        }
    }

    /// A heartbeat: the value known, of one of these versions, lives on. The state of the world has
    /// versions for all of a type, which a server may tell in either place.
    /// Lets a resource live on under each of its names that it is known by in that version; the
    /// last one is its own.
    fn renew(
        &mut self,
        ids: impl Iterator<Item = ResourceId>,
        ttl: Option<Duration>,
        versions: [&Name; 2],
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut result = Ok(());
        let mut is_known = false;
        for id in ids {
            let known = self.store.get(id.kind, &id.name).filter(|watched| watched.value.is_some());
            if known.is_some_and(|watched| versions.contains(&&watched.version)) {
                self.store.lifetimes.set(&id, ttl, now);
                is_known = true;
            } else {
                let text = "holds no resource, and no such version is known";
                result = Err(Refusal::of(&id, "", text));
            }
        }
        if is_known { Ok(()) } else { result }
    }

    /// Of Listeners and Clusters each response has all there are: what was received before and
    /// is not in this one has been deleted. One never received is left to its timer, unless all
    /// that there are were asked for.
    fn remove_absent(&mut self, intake: &Intake) {
        let (kind, server) = (intake.kind, intake.server);
        let is_wild =
            self.store.is_wild(kind) && self.authorities.uses(AuthorityIndex::DEFAULT, server);
        if is_wild && intake.seen.is_empty() {
            tracing::warn!(%kind, "the control plane has none left: those known are kept");
            return;
        }
        let of_all = if is_wild { Some(AuthorityIndex::DEFAULT) } else { None };
        let known = self.store.received(kind, of_all).filter(|(name, authority)| {
            self.authorities.uses(*authority, server) && !intake.seen.contains(*name)
        });
        let gone: Vec<Name> = known.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.remove(intake, ResourceId::new(kind, name));
        }
    }

    /// Whether the server answers for that name: of others it says nothing.
    fn serves(&self, server: ServerIndex, name: &str) -> bool {
        let authority = self.authorities.of(name);
        authority.is_some_and(|authority| self.authorities.uses(authority, server))
    }

    fn remove(&mut self, intake: &Intake, id: ResourceId) {
        if !self.serves(intake.server, &id.name) {
            return;
        }
        let known = self.store.get(id.kind, &id.name);
        let server = &self.streams[intake.server.get()].name;
        let text = match known.is_some_and(|watched| watched.value.is_some()) {
            true => format!("deleted by {server}"),
            false => format!("{server} has none of that name"),
        };
        self.store.remove(&id, &text, intake.old, intake.now);
    }

    /// xRFC TP3: errors by resource. Two codes speak of the resource, the others of the server.
    fn receive_errors(&mut self, intake: &Intake, errors: &[ResourceError]) {
        for error in errors {
            let id = ResourceId::new(intake.kind, name_of(error));
            if !self.serves(intake.server, &id.name) {
                continue;
            }
            let (code, message) = match &error.error_detail {
                Some(status) => (status.code, status.message.as_str()),
                None => (Code::Unknown as i32, ""),
            };
            let server = &self.streams[intake.server.get()].name;
            let name = Code::try_from(code).unwrap_or(Code::Unknown).as_str_name();
            let text = format!("{server} reports {name}: {message}");
            if code == Code::NotFound as i32 || code == Code::PermissionDenied as i32 {
                self.store.remove(&id, &text, intake.old, intake.now);
            } else {
                self.store.fail(&id, FailureKind::Unreachable, &text, intake.now);
            }
        }
    }

    /// Counts what came, and says what to refuse the response with, if any of it is refused.
    fn refusal_text(&mut self, intake: &Intake, version: &str) -> Option<String> {
        let refusals = &intake.refusals;
        let valid = intake.count - refusals.len();
        self.counts.add((intake.server, intake.kind), valid, refusals.len());
        if refusals.is_empty() {
            return None;
        }
        let mut text = format!("{} of {} resources refused", refusals.len(), intake.count);
        let mut separator = ": ";
        for (told, (index, refusal)) in refusals.iter().enumerate() {
            let one = format!("{separator}[{index}] {refusal}");
            if text.len() + one.len() > REFUSAL_LIMIT {
                text.push_str(&format!("; and {} more", refusals.len() - told));
                break;
            }
            text.push_str(&one);
            separator = "; ";
        }
        text.push_str(&format!(" (node {:?})", self.store.node_id()));
        tracing::warn!(kind = %intake.kind, %version, "refused: {text}");
        Some(text)
    }
}

impl Intake {
    fn note(&mut self, index: usize, taken: Result<(), Refusal>) {
        if let Err(refusal) = taken {
            self.refusals.push((index, refusal));
        }
    }
}

/// The resource that an error is about.
fn name_of(error: &ResourceError) -> Name {
    let name = error.resource_name.as_ref().map_or("", |name| name.name.as_str());
    name::canonical(name).unwrap_or_else(|| name.into())
}
