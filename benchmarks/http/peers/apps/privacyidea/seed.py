"""Makes the people of a file of JSON, each with a TOTP token: one PIN, hashed once for all."""

import json
import sys
from base64 import b32decode
from pathlib import Path

from privacyidea.app import create_app
from privacyidea.lib.crypto import pass_hash
from privacyidea.lib.policy import set_policy
from privacyidea.lib.realm import set_default_realm, set_realm
from privacyidea.lib.token import init_token
from privacyidea.lib.user import User, create_user
from privacyidea.models import db

STORE = "people"


def main(people: Path) -> None:
    """Make the realm, its policies, people and tokens; the store of people is there."""
    given = json.loads(people.read_text("utf-8"))
    hashed = pass_hash(given["password"])
    set_realm(STORE, [{"name": STORE}])
    set_default_realm(STORE)
    # The PIN alone begins a login, which the code ends; both at once are one, too.
    set_policy("challenges", scope="authentication", action="challenge_response=totp")
    for person in given["people"]:
        create_user(STORE, {"username": person["name"], "email": person["email"]})
        token = init_token(
            {"type": "totp", "otpkey": b32decode(person["secret"]).hex()},
            user=User(person["name"], realm=STORE),
        )
        token.set_pin_hash_seed(hashed, "")
        token.save()
    db.session.commit()


if __name__ == "__main__":
    with create_app(config_name="production", silent=True).app_context():
        main(Path(sys.argv[1]))
