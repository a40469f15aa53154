"""What graphql-js and graphql-core promise of an execution in their own published tests, told in our words.

`run` executes each by the compiling executor, at the root of a query and one level below it.
"""
