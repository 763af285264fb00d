"""What this provider says of itself to hubs, and the parts of it that hubs' work goes through."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import Signer
from chain.primitives.provider_messages import Hello
from chain.primitives.worker_fields import ModelOffer
from chain.primitives.worker_message import Heartbeat
from provider.engine.engine import Engine
from provider.jobs.service import JobService
from provider.minting.attestations import Attestations
from provider.minting.chain_identity import ChainIdentity
from provider.receipts.trajectories import Trajectories
from provider.settings import ProviderSettings
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox

_MAX_SHOWN: Final = 200


@dataclass(frozen=True)
class LinkTools:
    """What serving hubs needs; built in `provider.process`."""

    settings: ProviderSettings
    key: Signer
    chain: ChainIdentity
    engine: Engine
    jobs: JobService
    job_log: JobLog
    outbox: Outbox
    trajectories: Trajectories
    attestations: Attestations


def hello(tools: LinkTools, signature: bytes, audience: str, leases: tuple[str, ...]) -> Hello:
    """Once the models are loaded; `leases` are those of this hub that are under way."""
    settings, engine = tools.settings, tools.engine
    device = engine.devices[0]
    reports = {report.name: report for report in engine.models()}
    return Hello(
        address=to_checksum_address(tools.key.address),
        signature=to_hex(signature),
        audience=audience,
        models=tuple(
            ModelOffer(
                name=name,
                price_per_unit=str(settings.price_of(name)),
                is_loaded=name in reports and reports[name].is_loaded,
                vram_mib=reports[name].vram_mib if name in reports else 0,
            )
            for name in settings.public_models
        ),
        unit_type=settings.unit_type,
        device=_printable(device.name),
        device_class=device.kind,
        vram_mib=max(each.vram_mib for each in engine.devices),
        slots=engine.slots,
        concurrency=engine.slots * settings.max_batch_rows,
        max_pictures=settings.max_pictures,
        records_trajectories=tools.trajectories.is_enabled,
        software=f"aitbc {version('aitbc')}",
        leases=leases,
    )


def heartbeat(engine: Engine) -> Heartbeat:
    """How busy this provider is."""
    loaded = tuple(model.name for model in engine.models() if model.is_loaded)
    return Heartbeat(busy_slots=engine.busy_slots, waiting_pictures=engine.queue_length, loaded=loaded)


def _printable(text: str) -> str:
    shown = "".join(character if " " <= character <= "~" else "?" for character in text[:_MAX_SHOWN])
    return shown or "unknown"
