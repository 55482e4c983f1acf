"""Tencent Cloud Contact Center: its wire, its operations with their settlement rules, its error codes."""
