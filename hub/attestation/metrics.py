"""What Prometheus can read of attesting and payouts; labels are of fixed sets."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class AttestationMetrics:
    """In the hub's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attested = Counter(
            "aitbc_hub_attested",
            "Receipts of this hub's jobs with all signatures, by form",
            ("form",),
            registry=registry,
        )
        self.refused = Counter(
            "aitbc_hub_attestations_refused", "Receipts of this hub's jobs that will never be signed", registry=registry
        )
        self.endorsements = Counter(
            "aitbc_hub_endorsements",
            "Others' receipts brought to this attester, by answer",
            ("answer",),
            registry=registry,
        )
        self.waiting = Gauge("aitbc_hub_attestations_waiting", "Receipts that wait for signatures", registry=registry)
        self.peers_asked = Counter(
            "aitbc_hub_peer_attesters_asked", "Other attesters asked, by outcome", ("outcome",), registry=registry
        )
        self.deliveries = Counter(
            "aitbc_hub_attestation_deliveries",
            "Attestations sent to providers, by outcome",
            ("outcome",),
            registry=registry,
        )
        self.on_chain = Counter(
            "aitbc_hub_receipts_on_chain", "Receipts seen final on the chain, by form", ("form",), registry=registry
        )
        self.paid_atoms = Counter(
            "aitbc_hub_payout_atoms",
            "Atoms paid to providers for receipts of this hub, by form",
            ("form",),
            registry=registry,
        )
