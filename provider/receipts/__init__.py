"""Receipts of served jobs: what a client signed, what the provider signs and commits to, and how all that is checked.

- `client_requests`: a client's signed request, verified before any work is done
- `issuing`: the receipt of a finished job, built and signed
- `profiles`: the reproducibility profile as JSON, and its hash
- `trajectories`: the latents of every step, kept on disk until the challenge window ends
- `job_file`: what a client keeps of a job, read strictly
- `claims`: the checks that need nothing but file and pictures
- `challenge`, `picture_distance`: steps that are opened by the provider and computed again, and their pictures
- `verifying`: what all that says of a job, for `aitbc provider verify`

It knows no HTTP routes, no engine, no database and no torch: whoever computes steps again is handed in.
"""
