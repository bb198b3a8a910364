"""The province's MQTT broker: Mosquitto, its configuration, process and rules."""
