"""Makes the tables and the people of a file of JSON: one hash for all, of their one password."""

import json
import sys
from pathlib import Path

import django
from django.core.management import call_command

django.setup()

from allauth.account.models import EmailAddress  # noqa: E402 - models need the settings first
from allauth.mfa.models import Authenticator  # noqa: E402 - the same
from allauth.mfa.utils import encrypt  # noqa: E402 - the same
from django.contrib.auth.hashers import make_password  # noqa: E402 - the same
from django.contrib.auth.models import User  # noqa: E402 - the same


def main(people: Path) -> None:
    """Make tables and people."""
    call_command("migrate", verbosity=0)
    given = json.loads(people.read_text("utf-8"))
    hashed = make_password(given["password"])
    users = User.objects.bulk_create(
        User(username=person["name"], email=person["email"], password=hashed)
        for person in given["people"]
    )
    EmailAddress.objects.bulk_create(
        EmailAddress(user=user, email=user.email, verified=True, primary=True) for user in users
    )
    Authenticator.objects.bulk_create(
        Authenticator(user=user, type="totp", data={"secret": encrypt(person["secret"])})
        for user, person in zip(users, given["people"], strict=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
