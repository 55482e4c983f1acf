"""Cordboard: provisioning of contact-centre seats and numbers from events, once."""
