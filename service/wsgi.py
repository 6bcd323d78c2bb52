"""Entry point of the WSGI server."""

from service.app import create_app, open_house
from service.settings import load

house = open_house(load())
app = create_app(house)
if house.settings.sqlite:
    # One file has one writer at a time: the background work runs inside the server.
    house.jobs.start()
