"""The attack suite's essential part, shipped: does *this* configuration, on *this* host, keep the promises?"""
