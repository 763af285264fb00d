"""One message of each kind between hub and provider, with every field filled."""

from typing import Final

from chain.primitives.hub_messages import (
    Assignment,
    Attested,
    Cancel,
    Challenge,
    CheckSteps,
    ComputePictures,
    Lifted,
    OpenSteps,
    Outstanding,
    PlanCheck,
    SettlementTerms,
    SignReceipt,
    Suspended,
    Taken,
    Welcome,
)
from chain.primitives.provider_messages import (
    Accepted,
    AskOutstanding,
    AttestationTaken,
    Checked,
    Computed,
    Hello,
    Opened,
    OpenedStep,
    Plan,
    Progress,
    ReceiptSigned,
    Result,
)
from chain.primitives.worker_fields import Attachment, ModelOffer, PictureRun, Place, ProfileClaim
from chain.primitives.worker_message import Drain, Heartbeat, Message, Refused
from chain.primitives.worker_messages import raw_json

HASH: Final = "0x" + "ab" * 32
SIGNATURE: Final = "0x" + "cd" * 65
DIGITS: Final = "ef" * 32
ADDRESS: Final = "0x" + "12" * 20
FILE: Final = Attachment(size_bytes=100, sha256=DIGITS)
PLACES: Final = (Place(picture=0, step=0), Place(picture=1, step=3))
PROFILE: Final = ProfileClaim(
    weights_sha256=DIGITS,
    scheduler="DDIMScheduler",
    dtype="float32",
    device_class="cpu",
    batch_rows=2,
    latent_shape=(4, 64, 64),
    versions={"torch": "2.13.0"},
)
RUN: Final = PictureRun(
    model="aitbc/tiny-sd",
    prompts=("a red circle", "a blue square"),
    steps=8,
    guidance=7.5,
    width=256,
    height=512,
    seed=2**63 - 1,
    count=2,
    negative_prompt="blurred",
    scheduler="ddim",
    image_format="jpeg",
    quality=80,
)
PLAIN_RUN: Final = PictureRun(
    model="aitbc/tiny-sd", prompts=("a red circle",), steps=8, guidance=7.5, width=256, height=256, seed=7
)

HUB_MESSAGES: Final[tuple[Message, ...]] = (
    Heartbeat(),
    Drain(),
    Refused(about="lease-1", reason="already_served", detail="another was faster", retry_after_s=1.5),
    Challenge(hub_id="hub", chain_id=7, genesis_hash=HASH, nonce=HASH, heartbeat_s=10),
    Welcome(leases=("lease-1", "lease-2")),
    Assignment(
        lease_id="lease-1",
        job_id="job-1",
        client=ADDRESS,
        request_hash=HASH,
        client_signature=SIGNATURE,
        prompt_salt=HASH,
        run=RUN,
        unit_type="gpu_seconds",
        price_per_unit="100",
        max_amount=str(2**256 - 1),
        deadline_s=60,
        preview_every=5,
    ),
    Cancel(lease_id="lease-1"),
    Taken(lease_id="lease-1"),
    OpenSteps(order_id="order-1", lease_id="lease-1", places=PLACES),
    PlanCheck(order_id="order-1", run=PLAIN_RUN, places=PLACES),
    CheckSteps(order_id="order-1", run=RUN, places=PLACES, batch_rows=2, opened=PLACES, latents=(FILE, FILE)),
    ComputePictures(order_id="order-1", purpose="benchmark", run=PLAIN_RUN),
    SignReceipt(order_id="order-1", receipt=raw_json({"job_id": "job-1"})),
    Attested(
        receipt_hash=HASH,
        form="settle",
        signatures=SIGNATURE + "cd" * 65,
        receipt=raw_json({"job_id": "job-1"}),
        receipt_signature=SIGNATURE,
        settlement=SettlementTerms(
            audience="hub",
            prompt_hash=HASH,
            parameters_hash=HASH,
            max_price="5",
            nonce=HASH,
            expiry=2**31,
            fee_recipient=ADDRESS,
            fee="0",
        ),
    ),
    Outstanding(order_id="question-1", leases=1, checks=2, jobs=3, attestations=4),
    Suspended(reason="checks_failed", detail="two of three checks failed", until_s=1.8e9),
    Lifted(),
)

PROVIDER_MESSAGES: Final[tuple[Message, ...]] = (
    Heartbeat(busy_slots=1, waiting_pictures=2, loaded=("aitbc/tiny-sd",)),
    Drain(),
    Refused(about="order-1", reason="trajectory_gone", detail="kept for a day"),
    Hello(
        address=ADDRESS,
        signature=SIGNATURE,
        audience="hub.example.org:443",
        models=(ModelOffer(name="aitbc/tiny-sd", price_per_unit="100", is_loaded=True, vram_mib=0),),
        unit_type="gpu_seconds",
        device="Intel(R) Xeon(R)",
        device_class="cpu",
        vram_mib=0,
        slots=1,
        concurrency=8,
        max_pictures=4,
        records_trajectories=True,
        software="aitbc 0.5.0",
        leases=("lease-1",),
    ),
    Accepted(lease_id="lease-1"),
    Progress(lease_id="lease-1", step=3, steps=8, fraction=0.375, picture=1, preview="/9j/4AAQ"),
    Result(
        lease_id="lease-1",
        receipt=raw_json({"job_id": "job-1"}),
        provider_signature=SIGNATURE,
        seeds=(1, 2),
        profiles=(PROFILE, PROFILE),
        duration_ms=1_000,
        compute_microseconds=900_000,
        gpu="Intel(R) Xeon(R)",
        pictures=(FILE, FILE),
    ),
    Opened(
        order_id="order-1",
        profiles=(PROFILE,),
        openings=(OpenedStep(picture=0, pictures=1, step=3, steps=8, latents_sha256=DIGITS, siblings=(HASH, HASH)),),
        latents=(FILE,),
    ),
    Plan(order_id="order-1", evaluations=8, needed=((), (2,))),
    Checked(order_id="order-1", profile=PROFILE, expected_rms=(1.0, 0.5), latents=(FILE, FILE)),
    Computed(
        order_id="order-1",
        profiles=(PROFILE,),
        compute_microseconds=900_000,
        duration_ms=1_000,
        digests=((DIGITS, DIGITS),),
        pictures=(FILE,),
        latents=(FILE,),
    ),
    ReceiptSigned(order_id="order-1", signature=SIGNATURE),
    AttestationTaken(receipt_hash=HASH, state="attested"),
    AskOutstanding(order_id="question-1"),
)
