"""The core of Automatic1111's API, which Open WebUI, SillyTavern and many scripts speak: another way to the same jobs.

`samplers` translates names of samplers and schedules, `schemas` what is asked and answered, `errors` the shape of
faults, `sessions` remembers per API key which model was chosen and what is at work, `routes` puts it together. That
program serves one person; here every caller has settings and progress of its own and sees nobody else's.
"""
