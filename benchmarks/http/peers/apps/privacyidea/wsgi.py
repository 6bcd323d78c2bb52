"""The application that gunicorn serves; PRIVACYIDEA_CONFIGFILE names its configuration."""

from privacyidea.app import create_app

application = create_app(config_name="production", silent=True)
