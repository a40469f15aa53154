"""How documents are executed: graphql-core's executor, with the functions of `compiler` where it would go field by field.

Semantics are graphql-core's. What compiled code cannot do it hands back, at the very value where it noticed, and the
methods below go on by the book; `tests/schema/execution` compares both on random schemas, documents and data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn, cast

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    OperationType,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.executor import collect_iterator_awaitables
from graphql.pyutils import Path, gather_with_cancel
from graphql.pyutils.is_awaitable import is_awaitable as default_is_awaitable
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import (
    StrawberryGraphQLCoreExecutionContext,
    _OperationContextAwareGraphQLResolveInfo,
)

from schema.execution.compiler import Place, Selection, Site, as_path
from schema.execution.plain import Pending, Unresolved
from schema.execution.plans import Plan, Variant

_PLAIN_PREDICATES = (default_is_awaitable, optimized_is_awaitable)


class PlannedInfo(_OperationContextAwareGraphQLResolveInfo):
    """What resolvers are given, with the variant that is executed: see `lookahead`."""

    variant: Variant | None = None


class CompiledExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes by a `Plan` when it is given one as `plan`, and wholly by the book otherwise.

    Also by the book: with resolve-middleware, an abort signal, a default resolver or a test for awaitables of somebody
    else's.
    """

    def __init__(self, *args: Any, plan: Plan | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.variant: Variant | None = None
        self.knows_typenames = self.type_resolver is default_type_resolver
        if plan is not None and plan.operation is self.operation and self._is_plain():
            self.variant = plan.variant(self.variable_values)

    @classmethod
    def planned(
        cls, plan: Plan, variables: Mapping[str, Any], context: object
    ) -> CompiledExecutor | list[GraphQLError]:
        """An executor for one execution of a plan, or the errors of the variables; what `build` would find out is known."""
        values = plan.variables(variables)
        if isinstance(values, list):
            return values
        return cls(
            plan.schema,
            plan.fragment_definitions,
            plan.fragments,
            None,
            context,
            plan.operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            hide_suggestions=True,
            plan=plan,
        )

    def _is_plain(self) -> bool:
        return (
            not (self.middleware_manager and self.middleware_manager.middlewares)
            and self.abort_signal is None
            and self.field_resolver is default_field_resolver
            and self.is_awaitable in _PLAIN_PREDICATES
        )

    def build_resolve_info(
        self, field_def: GraphQLField, field_nodes: list[FieldNode], parent_type: GraphQLObjectType, path: Path
    ) -> Any:
        info = PlannedInfo._make(super().build_resolve_info(field_def, field_nodes, parent_type, path))
        info.variant = self.variant
        return info

    # What is collected once for all executions

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 -- graphql-core's signature
        variant = self.variant
        root_type = self.schema.get_root_type(self.operation.operation)
        if variant is None or root_type is None:
            return super().execute_operation(serially)
        if serially is None:
            serially = self.operation.operation is OperationType.MUTATION
        try:
            fields = variant.root(root_type).grouped_field_set
        except (GraphQLError, RecursionError):
            self.variant = None
            return super().execute_operation(serially)  # which has the words for it
        try:
            data = self.execute_root_grouped_field_set(root_type, self.root_value, fields, serially, None)
        except GraphQLError as error:
            self.collected_errors.add(error, None)
            return self.build_response(None)
        if self.is_awaitable(data):
            return self._await_response(data)
        return self.build_response(cast("dict[str, Any]", data))

    async def _await_response(self, data: Any) -> Any:
        try:
            return self.build_response(await data)
        except GraphQLError as error:
            self.collected_errors.add(error, None)
            return self.build_response(None)

    # Where execution by the book meets compiled functions

    def complete_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        if self.variant is not None and field_details_list[0].node.selection_set is not None:
            try:
                complete = self.variant.dispatch(return_type, info.parent_type, field_details_list)[type(result)]
                return complete(self, result, path)
            except Pending as pending:
                return pending.awaitable
            except Unresolved:
                pass
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def collect_and_execute_subfields(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        """For objects whose type was found out by the book."""
        if self.variant is None:
            return super().collect_and_execute_subfields(
                return_type, field_details_list, path, result, position_context
            )
        complete = self.variant.object_function(
            return_type, field_details_list, from_mapping=isinstance(result, Mapping), tested=True
        )
        try:
            return complete(self, result, path)
        except Pending as pending:
            return pending.awaitable

    # Where compiled functions go on by the book

    def resume(
        self, selection: Selection, source: Any, place: Place, position: int, done: Sequence[Any], error: Exception
    ) -> dict[str, Any]:
        """Completes an object from the field at `position`, which did not go as planned; those before are done."""
        path, results = as_path(place), dict(zip(selection.keys[:position], done, strict=False))
        waiting = [key for key, result in results.items() if self.is_awaitable(result)]
        try:
            for index in range(position, len(selection.keys)):
                key, site = selection.keys[index], selection.sites[index]
                field_path = Path(path, key, selection.kind.name)
                if index == position:
                    result = self._finish_field(site, field_path, error)
                else:
                    result = self.execute_field(selection.kind, source, site.details, field_path, None)
                results[key] = result
                if self.is_awaitable(result):
                    waiting.append(key)
        except Exception:
            if waiting:
                self.settle_in_background([results[key] for key in waiting])
            raise
        if waiting:
            self.wait_for(results, waiting)
        return results

    def wait_for(self, results: dict[str, Any], waiting: Sequence[str]) -> NoReturn:
        """Raises Pending for an object of which the results under some keys have to be awaited."""

        async def gather() -> dict[str, Any]:
            if len(waiting) == 1:
                results[waiting[0]] = await results[waiting[0]]
            else:
                arrived = await gather_with_cancel(*(results[key] for key in waiting))
                results.update(zip(waiting, arrived, strict=True))
            return results

        raise Pending(gather())

    def _finish_field(self, site: Site, path: Path, error: Exception) -> Any:
        """A field whose value has been read: as `execute_field` goes on from there."""
        kind, details = site.definition.type, site.details
        try:
            if isinstance(error, Unresolved):
                return self._complete_read_value(site, path, error.value)
            if isinstance(error, Pending):
                return self._await_completed(error.awaitable, kind, details, path)
            self.handle_field_error(error, kind, details, path)
        except Exception as raised:  # noqa: BLE001 -- whatever a field raises is the field's error
            self.handle_field_error(raised, kind, details, path)
        return None

    def _complete_read_value(self, site: Site, path: Path, value: Any) -> Any:
        kind, details = site.definition.type, site.details
        info = self.build_resolve_info(site.definition, [each.node for each in details], site.parent_type, path)
        if site.definition.resolve is None and callable(value):
            value = value(info)
        if self.is_awaitable(value):
            return self.complete_awaitable_value(kind, details, info, path, value, None)
        completed = self.complete_value(kind, details, info, path, value, None)
        return self._await_completed(completed, kind, details, path) if self.is_awaitable(completed) else completed

    async def _await_completed(
        self, completed: Any, kind: GraphQLOutputType, details: FieldDetailsList, path: Path
    ) -> Any:
        try:
            return await completed
        except Exception as error:  # noqa: BLE001 -- whatever a field raises is the field's error
            self.handle_field_error(error, kind, details, path)
            return None

    def resume_list(
        self,
        item_kind: GraphQLOutputType,
        site: Site,
        unplanned: Any,
        remaining: Iterator[Any],
        results: list[Any],
        place: Place,
        error: Exception,
    ) -> list[Any]:
        """Completes a list from the item after `results`, which did not go as planned, through the remaining ones."""
        path, info, position = as_path(place), site.info(self, place), len(results)
        assert path is not None
        waiting: list[int] = []
        try:
            for index, item in enumerate(chain((unplanned,), remaining), position):
                item_path = path.add_key(index)
                if index == position and not isinstance(error, Unresolved):
                    result = self._finish_item(item_kind, site, item_path, error)
                    results.append(result)
                    is_pending = self.is_awaitable(result)
                elif self.is_awaitable(item):
                    results.append(
                        self.complete_awaitable_list_item_value(item, item_kind, site.details, info, item_path, None)
                    )
                    is_pending = True
                else:
                    is_pending = self.complete_list_item_value(
                        item, results, item_kind, site.details, info, item_path, None
                    )
                if is_pending:
                    waiting.append(index)
        except Exception:
            orphans = [results[index] for index in waiting]
            orphans.extend(collect_iterator_awaitables(remaining, self.is_awaitable))
            if orphans:
                self.settle_in_background(orphans)
            raise
        if not waiting:
            return results

        async def gather() -> list[Any]:
            if len(waiting) == 1:
                results[waiting[0]] = await results[waiting[0]]
            else:
                arrived = await gather_with_cancel(*(results[index] for index in waiting))
                for index, result in zip(waiting, arrived, strict=True):
                    results[index] = result
            return results

        raise Pending(gather())

    def _finish_item(self, item_kind: GraphQLOutputType, site: Site, path: Path, error: Exception) -> Any:
        if isinstance(error, Pending):
            return self._await_completed(error.awaitable, item_kind, site.details, path)
        self.handle_field_error(error, item_kind, site.details, path)
        return None
