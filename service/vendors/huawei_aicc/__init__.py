"""Huawei Cloud AICC: its wire, its operations with their settlement rules, its error classes."""
