"""The plan's own client, rewritten: asks for a picture with nothing but httpx, and saves it where it is told to."""

import base64
import os
import sys
from pathlib import Path

import httpx

API = os.getenv("API", "http://localhost:8000")
API_KEY = os.getenv("API_KEY", "CHANGE_ME_SUPERSECRET")


def main(out: Path) -> None:
    """One request, one picture."""
    payload = {
        "api_key": API_KEY,
        "prompt": "a red circle on a blue background",
        "steps": 30,
        "guidance": 7.5,
        "width": 512,
        "height": 512,
        "seed": 12345,
    }
    answer = httpx.post(f"{API}/v1/generate-image", json=payload, timeout=120)
    answer.raise_for_status()
    response = answer.json()
    print("job:", response.get("job_id"), "duration_ms:", response.get("duration_ms"))
    out.write_bytes(base64.b64decode(response["image_base64"].split(",", 1)[1]))
    print("saved", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
