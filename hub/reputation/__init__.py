"""HOW good a provider is: what came of its work, weighed and forgotten with time, and what follows from it.

- `rules`: pure: outcomes to a score that decays, a score to a standing, and when suspicion pauses a provider
- `noting`: the one way in: an outcome, in the unit in which it happens
- `suspending`: pauses and bans, brought to the provider's session by the process that has it
- `service_levels`: what was measured against a provider's signed promise (pure)
- `recording`: failures, disputes and breaches, put on the chain's record by the attester, few calls for many
- `public`: what anybody may read of a provider

The scheduler gives work by score and standing, verification samples by standing; both read the provider's row.
"""
