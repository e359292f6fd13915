"""Did a run get worse than the accepted one?"""
