-- customers: create table, 0 bound
CREATE TABLE [app].[Customers] ([Id] int NOT NULL, [Email] nvarchar(256) COLLATE SQL_Latin1_General_CP1_CI_AS NOT NULL, [Balance] decimal(18,2) NULL, [Photo] varbinary(max) NULL, [CreatedAt] datetime2(7) NOT NULL, [Version] int NOT NULL, [SyncedAt] DATETIME2(7) NOT NULL, PRIMARY KEY ([Id]));

-- customers: create history, 0 bound
CREATE TABLE [app].[SyncHistory] ([SyncId] UNIQUEIDENTIFIER NOT NULL PRIMARY KEY, [SyncedAt] DATETIME2(7) NOT NULL, [InsertedCount] BIGINT NOT NULL, [UpdatedCount] BIGINT NOT NULL, [DeletedCount] BIGINT NOT NULL, [Success] BIT NOT NULL, [ErrorMessage] NVARCHAR(MAX) NULL, [SkippedCount] BIGINT NOT NULL, [WithheldCount] BIGINT NOT NULL, [RejectedCount] BIGINT NOT NULL, [AheadCount] BIGINT NOT NULL, [StartedAt] DATETIME2(7) NOT NULL, [CompletedAt] DATETIME2(7) NULL, [Attempt] BIGINT NOT NULL, [RunId] NVARCHAR(MAX) NOT NULL, [ServiceName] NVARCHAR(MAX) NOT NULL, [Notice] NVARCHAR(MAX) NULL, [Mode] NVARCHAR(MAX) NULL, [StartedBy] NVARCHAR(MAX) NULL, [RunNumber] BIGINT NULL, [DriftCount] BIGINT NULL, [VerifiedShare] FLOAT NULL, [VerifiedSince] DATETIME2(7) NULL);

-- customers: alter, 0 bound
ALTER TABLE [app].[Customers] ADD [Fax] nvarchar(20) COLLATE Latin1_General_CI_AS NULL;

-- customers: alter (2), 0 bound
ALTER TABLE [app].[Customers] ALTER COLUMN [Email] nvarchar(max) COLLATE Polish_CI_AS NOT NULL;

-- customers: alter (3), 0 bound
ALTER TABLE [app].[Customers] ALTER COLUMN [Balance] decimal(20,2);

-- customers: alter (4), 0 bound
ALTER TABLE [app].[Customers] ALTER COLUMN [CreatedAt] datetime2(7) NULL;

-- customers: create unfilled, 0 bound
CREATE TABLE [app].[SyncHistory_Unfilled] (TableName NVARCHAR(MAX) NOT NULL, ColumnName NVARCHAR(MAX) NOT NULL);

-- customers: mark unfilled, 2 bound
INSERT INTO [app].[SyncHistory_Unfilled] (TableName, ColumnName) VALUES (CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s));

-- customers: find unfilled, 1 bound
IF OBJECT_ID(N'[app].[SyncHistory_Unfilled]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT ColumnName FROM [app].[SyncHistory_Unfilled] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- customers: filled, 1 bound
IF OBJECT_ID(N'[app].[SyncState]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT Name, Value FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- customers: filled (2), 2 bound
DELETE FROM [app].[SyncHistory_Unfilled] WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND ColumnName = CONVERT(NVARCHAR(MAX), %s);

-- customers: digest of whole rows, 2 bound
SELECT piece, COUNT_BIG(*), SUM(mix % CONVERT(BIGINT, 1099511627689)) FROM (SELECT (CONVERT(BIGINT, [Id]) - (1)) / 128 AS piece, [backup_sync_content] AS mix FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Id] AS VARCHAR(20)) + N'|' + CAST(DATALENGTH([Email]) AS VARCHAR(20)) + N':' + CAST([Email] AS NVARCHAR(256)) + N'|' + COALESCE(CAST([Balance] AS VARCHAR(45)), N'-') + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Photo]))) AS VARCHAR(20)), N'-') + N'|' + CAST([CreatedAt] AS VARCHAR(34)) + N'|' + CAST([Version] AS VARCHAR(20))))) AS [backup_sync_content] FROM [app].[Customers] t) whole WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) d GROUP BY piece;

-- customers: pairs of whole rows, 2 bound
SELECT COUNT_BIG(*), STRING_AGG(c0, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c1, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c2, ',') WITHIN GROUP (ORDER BY n) FROM (SELECT [Id] AS c0, [Version] AS c1, [backup_sync_content] AS c2, ROW_NUMBER() OVER (ORDER BY [Id]) AS n FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Id] AS VARCHAR(20)) + N'|' + CAST(DATALENGTH([Email]) AS VARCHAR(20)) + N':' + CAST([Email] AS NVARCHAR(256)) + N'|' + COALESCE(CAST([Balance] AS VARCHAR(45)), N'-') + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Photo]))) AS VARCHAR(20)), N'-') + N'|' + CAST([CreatedAt] AS VARCHAR(34)) + N'|' + CAST([Version] AS VARCHAR(20))))) AS [backup_sync_content] FROM [app].[Customers] t) whole WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) p GROUP BY (n - 1) / 190;

-- customers: next share, 0 bound
SELECT MIN([Id]), MAX([Id]) FROM [app].[Customers] WHERE 1 = 1;

-- customers: digest, 2 bound
SELECT piece, COUNT_BIG(*), SUM(mix * mix % 2147483629), SUM(mix) FROM (SELECT (CONVERT(BIGINT, [Id]) - (1)) / 128 AS piece, ((N) + (CONVERT(BIGINT, [Id]) * N + CONVERT(BIGINT, [Version]) * N)) % 2147483647 AS mix FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) d GROUP BY piece;

-- customers: stamps, 2 bound
SELECT STRING_AGG(CONVERT(BIGINT, [Id]) * CONVERT(BIGINT, N) + [Version], ',') FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s)) GROUP BY [Id] / 32;

-- customers: read, 2 bound
SELECT [Id], [Photo], [Email] + N'' + COALESCE(CAST([Balance] AS VARCHAR(45)), N'~') + N'' + CAST([CreatedAt] AS VARCHAR(34)) + N'' + CAST([Version] AS VARCHAR(20)) FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s));

-- customers: read keys, 1 bound
SELECT t.[Id], t.[Photo], t.[Email] + N'' + COALESCE(CAST(t.[Balance] AS VARCHAR(45)), N'~') + N'' + CAST(t.[CreatedAt] AS VARCHAR(34)) + N'' + CAST(t.[Version] AS VARCHAR(20)) FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p JOIN [app].[Customers] t ON t.[Id] = p.k0;

-- customers: present, 1 bound
SELECT p.i FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p WHERE EXISTS (SELECT 1 FROM [app].[Customers] t WHERE t.[Id] = p.k0);

-- customers: insert, 2 bound
INSERT INTO [app].[Customers] ([Id], [Email], [Balance], [Photo], [CreatedAt], [Version], [SyncedAt]) SELECT [Id], [Email], [Balance], [Photo], [CreatedAt], [Version], CONVERT(DATETIME2(7), %s) FROM (SELECT c0 AS [Id], c1 COLLATE SQL_Latin1_General_CP1_CI_AS AS [Email], CONVERT(decimal(18,2), c2) AS [Balance], CONVERT(varbinary(max), c3, 2) AS [Photo], CONVERT(datetime2(7), c4, 121) AS [CreatedAt], c5 AS [Version] FROM OPENJSON(%s) WITH (c0 int '$[0]', c1 nvarchar(256) '$[1]', c2 varchar(45) '$[2]', c3 varchar(max) '$[3]', c4 varchar(34) '$[4]', c5 int '$[5]')) s WHERE NOT EXISTS (SELECT 1 FROM [app].[Customers] t WHERE t.[Id] = s.[Id]);

-- customers: update, 2 bound
UPDATE t SET [Id] = s.[Id], [Email] = s.[Email], [Balance] = s.[Balance], [Photo] = s.[Photo], [CreatedAt] = s.[CreatedAt], [Version] = s.[Version], [SyncedAt] = CONVERT(DATETIME2(7), %s) FROM [app].[Customers] t JOIN (SELECT c0 AS [Id], c1 COLLATE SQL_Latin1_General_CP1_CI_AS AS [Email], CONVERT(decimal(18,2), c2) AS [Balance], CONVERT(varbinary(max), c3, 2) AS [Photo], CONVERT(datetime2(7), c4, 121) AS [CreatedAt], c5 AS [Version] FROM OPENJSON(%s) WITH (c0 int '$[0]', c1 nvarchar(256) '$[1]', c2 varchar(45) '$[2]', c3 varchar(max) '$[3]', c4 varchar(34) '$[4]', c5 int '$[5]')) s ON t.[Id] = s.[Id];

-- customers: insert into another's table, 1 bound
INSERT INTO [app].[Customers] ([Id], [Email], [Balance], [Photo], [CreatedAt], [Version]) SELECT [Id], [Email], [Balance], [Photo], [CreatedAt], [Version] FROM (SELECT c0 AS [Id], c1 COLLATE SQL_Latin1_General_CP1_CI_AS AS [Email], CONVERT(decimal(18,2), c2) AS [Balance], CONVERT(varbinary(max), c3, 2) AS [Photo], CONVERT(datetime2(7), c4, 121) AS [CreatedAt], c5 AS [Version] FROM OPENJSON(%s) WITH (c0 int '$[0]', c1 nvarchar(256) '$[1]', c2 varchar(45) '$[2]', c3 varchar(max) '$[3]', c4 varchar(34) '$[4]', c5 int '$[5]')) s WHERE NOT EXISTS (SELECT 1 FROM [app].[Customers] t WHERE t.[Id] = s.[Id]);

-- customers: update another's table, 1 bound
UPDATE t SET [Id] = s.[Id], [Email] = s.[Email], [Balance] = s.[Balance], [Photo] = s.[Photo], [CreatedAt] = s.[CreatedAt], [Version] = s.[Version] FROM [app].[Customers] t JOIN (SELECT c0 AS [Id], c1 COLLATE SQL_Latin1_General_CP1_CI_AS AS [Email], CONVERT(decimal(18,2), c2) AS [Balance], CONVERT(varbinary(max), c3, 2) AS [Photo], CONVERT(datetime2(7), c4, 121) AS [CreatedAt], c5 AS [Version] FROM OPENJSON(%s) WITH (c0 int '$[0]', c1 nvarchar(256) '$[1]', c2 varchar(45) '$[2]', c3 varchar(max) '$[3]', c4 varchar(34) '$[4]', c5 int '$[5]')) s ON t.[Id] = s.[Id];

-- customers: delete, 1 bound
DELETE t FROM [app].[Customers] t JOIN (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p ON t.[Id] = p.k0;

-- customers: boundaries, 2 bound
SELECT k0 FROM (SELECT [Id] AS k0, ROW_NUMBER() OVER (ORDER BY [Id]) AS n FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) k WHERE n % 1000 = 0 ORDER BY n;

-- customers: count, 5 bound
UPDATE [app].[SyncHistory] SET InsertedCount = InsertedCount + CONVERT(BIGINT, %s), UpdatedCount = UpdatedCount + CONVERT(BIGINT, %s), DeletedCount = DeletedCount + CONVERT(BIGINT, %s) WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s) AND Attempt = CONVERT(BIGINT, %s) AND CompletedAt IS NULL;

-- customers: save history, 23 bound
UPDATE [app].[SyncHistory] SET [SyncedAt] = CONVERT(DATETIME2(7), %s), [InsertedCount] = CONVERT(BIGINT, %s), [UpdatedCount] = CONVERT(BIGINT, %s), [DeletedCount] = CONVERT(BIGINT, %s), [Success] = CONVERT(BIT, %s), [ErrorMessage] = CONVERT(NVARCHAR(MAX), %s), [SkippedCount] = CONVERT(BIGINT, %s), [WithheldCount] = CONVERT(BIGINT, %s), [RejectedCount] = CONVERT(BIGINT, %s), [AheadCount] = CONVERT(BIGINT, %s), [StartedAt] = CONVERT(DATETIME2(7), %s), [CompletedAt] = CONVERT(DATETIME2(7), %s), [Attempt] = CONVERT(BIGINT, %s), [RunId] = CONVERT(NVARCHAR(MAX), %s), [ServiceName] = CONVERT(NVARCHAR(MAX), %s), [Notice] = CONVERT(NVARCHAR(MAX), %s), [Mode] = CONVERT(NVARCHAR(MAX), %s), [StartedBy] = CONVERT(NVARCHAR(MAX), %s), [RunNumber] = CONVERT(BIGINT, %s), [DriftCount] = CONVERT(BIGINT, %s), [VerifiedShare] = CONVERT(FLOAT, %s), [VerifiedSince] = CONVERT(DATETIME2(7), %s) WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s);

-- customers: save history (2), 23 bound
INSERT INTO [app].[SyncHistory] ([SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince]) VALUES (CONVERT(UNIQUEIDENTIFIER, %s), CONVERT(DATETIME2(7), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIT, %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(DATETIME2(7), %s), CONVERT(DATETIME2(7), %s), CONVERT(BIGINT, %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(FLOAT, %s), CONVERT(DATETIME2(7), %s));

-- customers: find history, 1 bound
SELECT  [SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince] FROM [app].[SyncHistory] WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s);

-- customers: newest history, 1 bound
SELECT TOP (5) [SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince] FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) ORDER BY StartedAt DESC ;

-- customers: is there history, 1 bound
IF OBJECT_ID(N'[app].[SyncHistory]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT SyncId FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) AND Success = 1;

-- customers: create state, 0 bound
CREATE TABLE [app].[SyncState] (TableName NVARCHAR(300) NOT NULL, Name NVARCHAR(100) NOT NULL, Value NVARCHAR(MAX) NOT NULL, PRIMARY KEY (TableName, Name));

-- customers: states, 1 bound
IF OBJECT_ID(N'[app].[SyncState]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT Name, Value FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- customers: keep state, 3 bound
UPDATE [app].[SyncState] SET Value = CONVERT(NVARCHAR(MAX), %s) WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND Name = CONVERT(NVARCHAR(MAX), %s);

-- customers: keep state (2), 3 bound
INSERT INTO [app].[SyncState] (TableName, Name, Value) VALUES (CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s));

-- customers: forget state, 2 bound
DELETE FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND Name = CONVERT(NVARCHAR(MAX), %s);

-- customers: restore points, 1 bound
SELECT RunNumber, StartedAt, CompletedAt FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) AND (RunNumber IS NOT NULL AND Success = 1 OR RunNumber IS NULL AND InsertedCount + UpdatedCount + DeletedCount > 0);

-- customers: create undo, 0 bound
CREATE TABLE [app].[Customers_Undo] ([_Seq] BIGINT NOT NULL, [_Op] CHAR(1) NOT NULL, [_SyncId] UNIQUEIDENTIFIER NOT NULL, [Id] int NOT NULL, [Email] nvarchar(256) COLLATE SQL_Latin1_General_CP1_CI_AS NULL, [Balance] decimal(18,2) NULL, [Photo] varbinary(max) NULL, [CreatedAt] datetime2(7) NULL, [Version] int NULL, [SyncedAt] datetime2(7) NULL, PRIMARY KEY NONCLUSTERED ([_Seq], [Id]));

-- customers: look at undo, 0 bound
IF OBJECT_ID(N'[app].[Customers_AsOf]') IS NOT NULL DROP FUNCTION [app].[Customers_AsOf];

-- customers: look at undo (2), 0 bound
CREATE FUNCTION [app].[Customers_AsOf] (@number BIGINT) RETURNS TABLE AS RETURN (SELECT t.[Id], t.[Email], t.[Balance], t.[Photo], t.[CreatedAt], t.[Version], t.[SyncedAt] FROM [app].[Customers] t LEFT JOIN (SELECT [Id], MIN([_Seq]) AS [_Seq] FROM [app].[Customers_Undo] WHERE [_Seq] > @number GROUP BY [Id]) f ON t.[Id] = f.[Id] WHERE f.[_Seq] IS NULL UNION ALL SELECT u.[Id], u.[Email], u.[Balance], u.[Photo], u.[CreatedAt], u.[Version], u.[SyncedAt] FROM (SELECT [Id], MIN([_Seq]) AS [_Seq] FROM [app].[Customers_Undo] WHERE [_Seq] > @number GROUP BY [Id]) f JOIN [app].[Customers_Undo] u ON u.[_Seq] = f.[_Seq] AND u.[Id] = f.[Id] WHERE u.[_Op] <> 'I');

-- customers: look at undo (3), 0 bound
IF OBJECT_ID(N'[app].[Customers_RestorePoints]') IS NOT NULL DROP VIEW [app].[Customers_RestorePoints];

-- customers: look at undo (4), 0 bound
CREATE VIEW [app].[Customers_RestorePoints] AS SELECT h.RunNumber, h.SyncId, h.CompletedAt, h.InsertedCount, h.UpdatedCount, h.DeletedCount, h.Success FROM [app].[SyncHistory] h JOIN [app].[SyncState] s ON s.TableName = N'app.Customers' AND s.Name = N'undo' WHERE h.ServiceName = N'thing' AND h.RunNumber >= CONVERT(BIGINT, JSON_VALUE(s.Value, '$.since')) AND NOT EXISTS (SELECT 1 FROM OPENJSON(s.Value, '$.gaps') WITH (f BIGINT '$[0]', l BIGINT '$[1]') g WHERE h.RunNumber > g.f AND h.RunNumber < g.l);

-- customers: highest entry, 0 bound
IF OBJECT_ID(N'[app].[Customers_Undo]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT MAX([_Seq]) FROM [app].[Customers_Undo];

-- customers: keep for an insert, 1 bound
INSERT INTO [app].[Customers_Undo] ([_Seq], [_Op], [_SyncId], [Id]) SELECT 7, 'I', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), p.k0 FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p WHERE NOT EXISTS (SELECT 1 FROM [app].[Customers] t WHERE t.[Id] = p.k0) AND NOT EXISTS (SELECT 1 FROM [app].[Customers_Undo] u WHERE u.[_Seq] = 7 AND u.[Id] = p.k0);

-- customers: keep for a delete, 1 bound
INSERT INTO [app].[Customers_Undo] ([_Seq], [_Op], [_SyncId], [Id], [Email], [Balance], [Photo], [CreatedAt], [Version], [SyncedAt]) SELECT 7, 'D', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), t.[Id], t.[Email], t.[Balance], t.[Photo], t.[CreatedAt], t.[Version], t.[SyncedAt] FROM [app].[Customers] t JOIN (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p ON t.[Id] = p.k0 WHERE NOT EXISTS (SELECT 1 FROM [app].[Customers_Undo] u WHERE u.[_Seq] = 7 AND u.[Id] = t.[Id]);

-- customers: keep what changes, 1 bound
INSERT INTO [app].[Customers_Undo] ([_Seq], [_Op], [_SyncId], [Id], [Email], [Balance], [Photo], [CreatedAt], [Version], [SyncedAt]) SELECT 7, 'U', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), t.[Id], t.[Email], t.[Balance], t.[Photo], t.[CreatedAt], t.[Version], t.[SyncedAt] FROM [app].[Customers] t JOIN (SELECT c0 AS [Id], c1 COLLATE SQL_Latin1_General_CP1_CI_AS AS [Email], CONVERT(decimal(18,2), c2) AS [Balance], CONVERT(varbinary(max), c3, 2) AS [Photo], CONVERT(datetime2(7), c4, 121) AS [CreatedAt], c5 AS [Version] FROM OPENJSON(%s) WITH (c0 int '$[0]', c1 nvarchar(256) '$[1]', c2 varchar(45) '$[2]', c3 varchar(max) '$[3]', c4 varchar(34) '$[4]', c5 int '$[5]')) p ON t.[Id] = p.[Id] AND ((t.[Id] <> p.[Id] OR t.[Id] IS NULL AND p.[Id] IS NOT NULL OR t.[Id] IS NOT NULL AND p.[Id] IS NULL) OR (CONVERT(VARBINARY(MAX), t.[Email]) <> CONVERT(VARBINARY(MAX), p.[Email]) OR DATALENGTH(t.[Email]) <> DATALENGTH(p.[Email]) OR t.[Email] IS NULL AND p.[Email] IS NOT NULL OR t.[Email] IS NOT NULL AND p.[Email] IS NULL) OR (t.[Balance] <> p.[Balance] OR t.[Balance] IS NULL AND p.[Balance] IS NOT NULL OR t.[Balance] IS NOT NULL AND p.[Balance] IS NULL) OR (t.[Photo] <> p.[Photo] OR DATALENGTH(t.[Photo]) <> DATALENGTH(p.[Photo]) OR t.[Photo] IS NULL AND p.[Photo] IS NOT NULL OR t.[Photo] IS NOT NULL AND p.[Photo] IS NULL) OR (t.[CreatedAt] <> p.[CreatedAt] OR t.[CreatedAt] IS NULL AND p.[CreatedAt] IS NOT NULL OR t.[CreatedAt] IS NOT NULL AND p.[CreatedAt] IS NULL) OR (t.[Version] <> p.[Version] OR t.[Version] IS NULL AND p.[Version] IS NOT NULL OR t.[Version] IS NOT NULL AND p.[Version] IS NULL)) WHERE NOT EXISTS (SELECT 1 FROM [app].[Customers_Undo] u WHERE u.[_Seq] = 7 AND u.[Id] = t.[Id]);

-- customers: cut, 0 bound
DELETE TOP (1000) u FROM [app].[Customers_Undo] u WHERE u.[_Seq] <= 5;

-- customers: thin, 0 bound
DELETE TOP (1000) u FROM [app].[Customers_Undo] u WHERE u.[_Seq] > 5 AND u.[_Seq] <= 9 AND EXISTS (SELECT 1 FROM (SELECT [Id], MIN([_Seq]) AS [_Seq] FROM [app].[Customers_Undo] WHERE [_Seq] > 5 AND [_Seq] <= 9 GROUP BY [Id]) f WHERE u.[Id] = f.[Id] AND f.[_Seq] < u.[_Seq]);

-- customers: bounds, 0 bound
SELECT MIN([Id]), MAX([Id]) FROM [app].[Customers] WHERE 1 = 1;

-- customers: identity, 0 bound
SELECT CONVERT(NVARCHAR(128), SERVERPROPERTY('ServerName')), DB_NAME(), d.availability, d.broker, d.created FROM (SELECT NULL AS group_database_id, NULL AS service_broker_guid, NULL AS create_date) missing OUTER APPLY (SELECT CONVERT(NVARCHAR(40), group_database_id) AS availability, CONVERT(NVARCHAR(40), service_broker_guid) AS broker, CONVERT(NVARCHAR(40), create_date, 126) AS created FROM sys.databases WHERE name = DB_NAME()) d;

-- customers: identity at least, 0 bound
SELECT CONVERT(NVARCHAR(128), SERVERPROPERTY('ServerName')), DB_NAME(), NULL, NULL, NULL;

-- customers: compare unfilled, 2 bound
SELECT piece, COUNT_BIG(*), SUM(mix * mix % 2147483629), SUM(mix) FROM (SELECT (CONVERT(BIGINT, [Id]) - (1)) / 128 AS piece, ((N + CONVERT(BIGINT, [Id]) % 2147483647 * N % 2147483647) + ((CONVERT(BIGINT, [Version]) % 2147483647 * N % 2147483647) + (COALESCE(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', [Photo]))) % 2147483647 * N, N) % 2147483647 + COALESCE(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), CONVERT(VARCHAR(45), [Balance]))))) % 2147483647 * N, N) % 2147483647))) % 2147483647 AS mix FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) d GROUP BY piece;

-- customers: pairs to be filled, 2 bound
SELECT [Id], [Version], CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', [Photo]))), CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), CONVERT(VARCHAR(45), [Balance]))))) FROM [app].[Customers] WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s));

-- customers: digest of chosen rows, 2 bound
SELECT piece, COUNT_BIG(*), SUM(mix * mix % 2147483629), SUM(mix) FROM (SELECT (CONVERT(BIGINT, [Id]) - (1)) / 128 AS piece, ((N) + (CONVERT(BIGINT, [Id]) * N + CONVERT(BIGINT, [Version]) * N)) % 2147483647 AS mix FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) d GROUP BY piece;

-- customers: stamps of chosen rows, 2 bound
SELECT STRING_AGG(CONVERT(BIGINT, [Id]) * CONVERT(BIGINT, N) + [Version], ',') FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s)) GROUP BY [Id] / 32;

-- customers: read chosen rows, 2 bound
SELECT [Id], [Photo], [Email] + N'' + COALESCE(CAST([Balance] AS VARCHAR(45)), N'~') + N'' + CAST([CreatedAt] AS VARCHAR(34)) + N'' + CAST([Version] AS VARCHAR(20)) FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s));

-- customers: read keys of chosen rows, 1 bound
SELECT t.[Id], t.[Photo], t.[Email] + N'' + COALESCE(CAST(t.[Balance] AS VARCHAR(45)), N'~') + N'' + CAST(t.[CreatedAt] AS VARCHAR(34)) + N'' + CAST(t.[Version] AS VARCHAR(20)) FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p JOIN (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) t ON t.[Id] = p.k0;

-- customers: present among chosen rows, 1 bound
SELECT p.i FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p WHERE EXISTS (SELECT 1 FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) t WHERE t.[Id] = p.k0);

-- customers: bounds of chosen rows, 0 bound
SELECT MIN([Id]), MAX([Id]) FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered WHERE 1 = 1;

-- customers: boundaries of chosen rows, 2 bound
SELECT k0 FROM (SELECT [Id] AS k0, ROW_NUMBER() OVER (ORDER BY [Id]) AS n FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) k WHERE n % 1000 = 0 ORDER BY n;

-- customers: count chosen rows, 0 bound
SELECT COUNT_BIG(*) FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered;

-- customers: are there chosen rows, 0 bound
SELECT TOP (1) 1 FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) filtered;

-- customers: pairs of whole masked rows, 2 bound
SELECT COUNT_BIG(*), STRING_AGG(c0, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c1, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c2, ',') WITHIN GROUP (ORDER BY n) FROM (SELECT [Id] AS c0, [Version] AS c1, [backup_sync_content] AS c2, ROW_NUMBER() OVER (ORDER BY [Id]) AS n FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Id] AS VARCHAR(20)) + N'|' + CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Email]))) AS VARCHAR(20)) + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Balance]))) AS VARCHAR(20)), N'-') + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Photo]))) AS VARCHAR(20)), N'-') + N'|' + COALESCE(CAST([CreatedAt] AS VARCHAR(34)), N'-') + N'|' + CAST([Version] AS VARCHAR(20))))) AS [backup_sync_content] FROM (SELECT f.[Id], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), f.[Email])))) AS [Email], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), CONVERT(VARCHAR(45), f.[Balance]))))) AS [Balance], f.[Photo], CAST(NULL AS datetime2(7)) AS [CreatedAt], f.[Version] FROM [app].[Customers] f) t) whole WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) p GROUP BY (n - 1) / 190;

-- customers: read masked rows, 2 bound
SELECT [Id], [Email], [Balance], [Photo], COALESCE(CAST([CreatedAt] AS VARCHAR(34)), N'~') + N'' + CAST([Version] AS VARCHAR(20)) FROM (SELECT f.[Id], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), f.[Email])))) AS [Email], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), CONVERT(VARCHAR(45), f.[Balance]))))) AS [Balance], f.[Photo], CAST(NULL AS datetime2(7)) AS [CreatedAt], f.[Version] FROM [app].[Customers] f) filtered WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s));

-- customers: read keys of masked rows, 1 bound
SELECT t.[Id], t.[Email], t.[Balance], t.[Photo], COALESCE(CAST(t.[CreatedAt] AS VARCHAR(34)), N'~') + N'' + CAST(t.[Version] AS VARCHAR(20)) FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p JOIN (SELECT f.[Id], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), f.[Email])))) AS [Email], CONVERT(BINARY(32), HASHBYTES('SHA2_256', CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'backup_sync_mask')) + CONVERT(NVARCHAR(MAX), CONVERT(VARCHAR(45), f.[Balance]))))) AS [Balance], f.[Photo], CAST(NULL AS datetime2(7)) AS [CreatedAt], f.[Version] FROM [app].[Customers] f) t ON t.[Id] = p.k0;

-- customers: say the key of a mask, 1 bound
EXEC sp_set_session_context @key = N'backup_sync_mask', @value = %s, @read_only = 1;

-- customers: pairs of whole chosen rows, 2 bound
SELECT COUNT_BIG(*), STRING_AGG(c0, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c1, ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c2, ',') WITHIN GROUP (ORDER BY n) FROM (SELECT [Id] AS c0, [Version] AS c1, [backup_sync_content] AS c2, ROW_NUMBER() OVER (ORDER BY [Id]) AS n FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Id] AS VARCHAR(20)) + N'|' + CAST(DATALENGTH([Email]) AS VARCHAR(20)) + N':' + CAST([Email] AS NVARCHAR(256)) + N'|' + COALESCE(CAST([Balance] AS VARCHAR(45)), N'-') + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Photo]))) AS VARCHAR(20)), N'-') + N'|' + CAST([CreatedAt] AS VARCHAR(34)) + N'|' + CAST([Version] AS VARCHAR(20))))) AS [backup_sync_content] FROM (SELECT f.[Id], f.[Email], f.[Balance], f.[Photo], f.[CreatedAt], f.[Version] FROM [app].[Customers] f WHERE (f.[Email] NOT IN (N'o''k 100%' + N'sure', N'żó') OR f.[Email] IS NULL) AND f.[Balance] >= 9.5 AND f.[Balance] < N AND f.[CreatedAt] < CONVERT(datetime2(7), '2026-11-27', 121) AND f.[Photo] IS NOT NULL) t) whole WHERE 1 = 1 AND (([Id] > %s)) AND (([Id] <= %s))) p GROUP BY (n - 1) / 190;

-- customers: read keys whatever they hold, 1 bound
SELECT t.[Id], t.[Photo], t.[Email] + N'' + COALESCE(CAST(t.[Balance] AS VARCHAR(45)), N'~') + N'' + CAST(t.[CreatedAt] AS VARCHAR(34)) + N'' + CAST(t.[Version] AS VARCHAR(20)) FROM (SELECT i, k0 AS k0 FROM OPENJSON(%s) WITH (i int '$[0]', k0 int '$[1]')) p JOIN [app].[Customers] t ON t.[Id] = p.k0;

-- customers: stamps of pieces, 1 bound
SELECT STRING_AGG(CONVERT(BIGINT, [Id]) * CONVERT(BIGINT, N) + [Version], ',') FROM [app].[Customers] WHERE 1 = 1 AND (CASE WHEN [Id] < CONVERT(BIGINT, 1) THEN 0 WHEN [Id] >= CONVERT(BIGINT, 257) THEN 2 ELSE (CONVERT(BIGINT, [Id]) - CONVERT(BIGINT, 1)) / CONVERT(BIGINT, 128) END) IN (SELECT CONVERT(INT, [value]) FROM OPENJSON(%s)) GROUP BY [Id] / 32;

-- lines: create table, 0 bound
CREATE TABLE [app].[Lines] ([Tenant] uniqueidentifier NOT NULL, [Code] varchar(20) NOT NULL, [Version] binary(8) NULL, [SyncedAt] DATETIME2(7) NOT NULL, PRIMARY KEY ([Tenant], [Code]));

-- lines: create history, 0 bound
CREATE TABLE [app].[SyncHistory] ([SyncId] UNIQUEIDENTIFIER NOT NULL PRIMARY KEY, [SyncedAt] DATETIME2(7) NOT NULL, [InsertedCount] BIGINT NOT NULL, [UpdatedCount] BIGINT NOT NULL, [DeletedCount] BIGINT NOT NULL, [Success] BIT NOT NULL, [ErrorMessage] NVARCHAR(MAX) NULL, [SkippedCount] BIGINT NOT NULL, [WithheldCount] BIGINT NOT NULL, [RejectedCount] BIGINT NOT NULL, [AheadCount] BIGINT NOT NULL, [StartedAt] DATETIME2(7) NOT NULL, [CompletedAt] DATETIME2(7) NULL, [Attempt] BIGINT NOT NULL, [RunId] NVARCHAR(MAX) NOT NULL, [ServiceName] NVARCHAR(MAX) NOT NULL, [Notice] NVARCHAR(MAX) NULL, [Mode] NVARCHAR(MAX) NULL, [StartedBy] NVARCHAR(MAX) NULL, [RunNumber] BIGINT NULL, [DriftCount] BIGINT NULL, [VerifiedShare] FLOAT NULL, [VerifiedSince] DATETIME2(7) NULL);

-- lines: alter, 0 bound
ALTER TABLE [app].[Lines] ADD [Fax] nvarchar(20) COLLATE Latin1_General_CI_AS NULL;

-- lines: alter (2), 0 bound
ALTER TABLE [app].[Lines] ALTER COLUMN [Email] nvarchar(max) COLLATE Polish_CI_AS NOT NULL;

-- lines: alter (3), 0 bound
ALTER TABLE [app].[Lines] ALTER COLUMN [Balance] decimal(20,2);

-- lines: alter (4), 0 bound
ALTER TABLE [app].[Lines] ALTER COLUMN [CreatedAt] datetime2(7) NULL;

-- lines: create unfilled, 0 bound
CREATE TABLE [app].[SyncHistory_Unfilled] (TableName NVARCHAR(MAX) NOT NULL, ColumnName NVARCHAR(MAX) NOT NULL);

-- lines: mark unfilled, 2 bound
INSERT INTO [app].[SyncHistory_Unfilled] (TableName, ColumnName) VALUES (CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s));

-- lines: find unfilled, 1 bound
IF OBJECT_ID(N'[app].[SyncHistory_Unfilled]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT ColumnName FROM [app].[SyncHistory_Unfilled] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- lines: filled, 1 bound
IF OBJECT_ID(N'[app].[SyncState]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT Name, Value FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- lines: filled (2), 2 bound
DELETE FROM [app].[SyncHistory_Unfilled] WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND ColumnName = CONVERT(NVARCHAR(MAX), %s);

-- lines: digest of whole rows, 6 bound
SELECT piece, COUNT_BIG(*), SUM(mix % CONVERT(BIGINT, 1099511627689)) FROM (SELECT 0 AS piece, [backup_sync_content] AS mix FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Tenant] AS VARCHAR(36)) + N'|' + CAST(DATALENGTH([Code]) AS VARCHAR(20)) + N':' + CAST([Code] AS NVARCHAR(20)) + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Version]))) AS VARCHAR(20)), N'-')))) AS [backup_sync_content] FROM [app].[Lines] t) whole WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)))) d GROUP BY piece;

-- lines: pairs of whole rows, 6 bound
SELECT COUNT_BIG(*), STRING_AGG(CAST(c0 AS VARCHAR(36)), ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c1, '|') WITHIN GROUP (ORDER BY n), STRING_AGG(COALESCE(CAST(CONVERT(BIGINT, c2) AS VARCHAR(20)), ''), ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c3, ',') WITHIN GROUP (ORDER BY n) FROM (SELECT [Tenant] AS c0, [Code] AS c1, [Version] AS c2, [backup_sync_content] AS c3, ROW_NUMBER() OVER (ORDER BY [Tenant], [Code]) AS n FROM (SELECT t.*, CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', CAST([Tenant] AS VARCHAR(36)) + N'|' + CAST(DATALENGTH([Code]) AS VARCHAR(20)) + N':' + CAST([Code] AS NVARCHAR(20)) + N'|' + COALESCE(CAST(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', [Version]))) AS VARCHAR(20)), N'-')))) AS [backup_sync_content] FROM [app].[Lines] t) whole WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)))) p GROUP BY (n - 1) / 190;

-- lines: next share, 0 bound
SELECT COUNT_BIG(*) FROM [app].[Lines] WHERE 1 = 1;

-- lines: next share (2), 0 bound
SELECT CONVERT(CHAR(36), k0), k1 FROM (SELECT [Tenant] AS k0, [Code] AS k1, ROW_NUMBER() OVER (ORDER BY [Tenant], [Code]) AS n FROM [app].[Lines] WHERE 1 = 1) k WHERE n % 1 = 0 ORDER BY n;

-- lines: digest, 6 bound
SELECT piece, COUNT_BIG(*), SUM(mix * mix % 2147483629), SUM(mix) FROM (SELECT 0 AS piece, ((N + CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), CONVERT(CHAR(36), [Tenant]))))) % 2147483647 * N % 2147483647) + (CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), [Code])))) % 2147483647 * N % 2147483647 + COALESCE(CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', [Version]))) % 2147483647 * N, N) % 2147483647)) % 2147483647 AS mix FROM [app].[Lines] WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)))) d GROUP BY piece;

-- lines: stamps, 6 bound
SELECT COUNT_BIG(*), STRING_AGG(CAST(c0 AS VARCHAR(36)), ',') WITHIN GROUP (ORDER BY n), STRING_AGG(c1, '|') WITHIN GROUP (ORDER BY n), STRING_AGG(COALESCE(CAST(CONVERT(BIGINT, c2) AS VARCHAR(20)), ''), ',') WITHIN GROUP (ORDER BY n) FROM (SELECT [Tenant] AS c0, [Code] AS c1, [Version] AS c2, ROW_NUMBER() OVER (ORDER BY [Tenant], [Code]) AS n FROM [app].[Lines] WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)))) p GROUP BY (n - 1) / 190;

-- lines: read, 6 bound
SELECT CONVERT(CHAR(36), [Tenant]), [Code], [Version] FROM [app].[Lines] WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)));

-- lines: read keys, 1 bound
SELECT CONVERT(CHAR(36), t.[Tenant]), t.[Code], t.[Version] FROM (SELECT i, CONVERT(uniqueidentifier, k0) AS k0, CONVERT(varchar(20), k1) AS k1 FROM OPENJSON(%s) WITH (i int '$[0]', k0 char(36) '$[1]', k1 nvarchar(max) '$[2]')) p JOIN [app].[Lines] t ON t.[Tenant] = p.k0 AND t.[Code] = p.k1;

-- lines: present, 1 bound
SELECT p.i FROM (SELECT i, CONVERT(uniqueidentifier, k0) AS k0, CONVERT(varchar(20), k1) AS k1 FROM OPENJSON(%s) WITH (i int '$[0]', k0 char(36) '$[1]', k1 nvarchar(max) '$[2]')) p WHERE EXISTS (SELECT 1 FROM [app].[Lines] t WHERE t.[Tenant] = p.k0 AND t.[Code] = p.k1);

-- lines: insert, 2 bound
UPDATE t SET [Tenant] = s.[Tenant], [Code] = s.[Code], [Version] = s.[Version], [SyncedAt] = CONVERT(DATETIME2(7), %s) FROM [app].[Lines] t JOIN (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s ON t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code];

-- lines: insert (2), 2 bound
INSERT INTO [app].[Lines] ([Tenant], [Code], [Version], [SyncedAt]) SELECT [Tenant], [Code], [Version], CONVERT(DATETIME2(7), %s) FROM (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s WHERE NOT EXISTS (SELECT 1 FROM [app].[Lines] t WHERE t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code]);

-- lines: update, 2 bound
UPDATE t SET [Tenant] = s.[Tenant], [Code] = s.[Code], [Version] = s.[Version], [SyncedAt] = CONVERT(DATETIME2(7), %s) FROM [app].[Lines] t JOIN (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s ON t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code];

-- lines: insert into another's table, 1 bound
UPDATE t SET [Tenant] = s.[Tenant], [Code] = s.[Code], [Version] = s.[Version] FROM [app].[Lines] t JOIN (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s ON t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code];

-- lines: insert into another's table (2), 1 bound
INSERT INTO [app].[Lines] ([Tenant], [Code], [Version]) SELECT [Tenant], [Code], [Version] FROM (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s WHERE NOT EXISTS (SELECT 1 FROM [app].[Lines] t WHERE t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code]);

-- lines: update another's table, 1 bound
UPDATE t SET [Tenant] = s.[Tenant], [Code] = s.[Code], [Version] = s.[Version] FROM [app].[Lines] t JOIN (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) s ON t.[Tenant] = s.[Tenant] AND t.[Code] = s.[Code];

-- lines: delete, 1 bound
DELETE t FROM [app].[Lines] t JOIN (SELECT i, CONVERT(uniqueidentifier, k0) AS k0, CONVERT(varchar(20), k1) AS k1 FROM OPENJSON(%s) WITH (i int '$[0]', k0 char(36) '$[1]', k1 nvarchar(max) '$[2]')) p ON t.[Tenant] = p.k0 AND t.[Code] = p.k1;

-- lines: boundaries, 6 bound
SELECT CONVERT(CHAR(36), k0), k1 FROM (SELECT [Tenant] AS k0, [Code] AS k1, ROW_NUMBER() OVER (ORDER BY [Tenant], [Code]) AS n FROM [app].[Lines] WHERE 1 = 1 AND (([Tenant] > CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] > CONVERT(varchar(20), %s))) AND (([Tenant] < CONVERT(uniqueidentifier, %s)) OR ([Tenant] = CONVERT(uniqueidentifier, %s) AND [Code] <= CONVERT(varchar(20), %s)))) k WHERE n % 1000 = 0 ORDER BY n;

-- lines: count, 5 bound
UPDATE [app].[SyncHistory] SET InsertedCount = InsertedCount + CONVERT(BIGINT, %s), UpdatedCount = UpdatedCount + CONVERT(BIGINT, %s), DeletedCount = DeletedCount + CONVERT(BIGINT, %s) WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s) AND Attempt = CONVERT(BIGINT, %s) AND CompletedAt IS NULL;

-- lines: save history, 23 bound
UPDATE [app].[SyncHistory] SET [SyncedAt] = CONVERT(DATETIME2(7), %s), [InsertedCount] = CONVERT(BIGINT, %s), [UpdatedCount] = CONVERT(BIGINT, %s), [DeletedCount] = CONVERT(BIGINT, %s), [Success] = CONVERT(BIT, %s), [ErrorMessage] = CONVERT(NVARCHAR(MAX), %s), [SkippedCount] = CONVERT(BIGINT, %s), [WithheldCount] = CONVERT(BIGINT, %s), [RejectedCount] = CONVERT(BIGINT, %s), [AheadCount] = CONVERT(BIGINT, %s), [StartedAt] = CONVERT(DATETIME2(7), %s), [CompletedAt] = CONVERT(DATETIME2(7), %s), [Attempt] = CONVERT(BIGINT, %s), [RunId] = CONVERT(NVARCHAR(MAX), %s), [ServiceName] = CONVERT(NVARCHAR(MAX), %s), [Notice] = CONVERT(NVARCHAR(MAX), %s), [Mode] = CONVERT(NVARCHAR(MAX), %s), [StartedBy] = CONVERT(NVARCHAR(MAX), %s), [RunNumber] = CONVERT(BIGINT, %s), [DriftCount] = CONVERT(BIGINT, %s), [VerifiedShare] = CONVERT(FLOAT, %s), [VerifiedSince] = CONVERT(DATETIME2(7), %s) WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s);

-- lines: save history (2), 23 bound
INSERT INTO [app].[SyncHistory] ([SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince]) VALUES (CONVERT(UNIQUEIDENTIFIER, %s), CONVERT(DATETIME2(7), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIT, %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(DATETIME2(7), %s), CONVERT(DATETIME2(7), %s), CONVERT(BIGINT, %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(BIGINT, %s), CONVERT(BIGINT, %s), CONVERT(FLOAT, %s), CONVERT(DATETIME2(7), %s));

-- lines: find history, 1 bound
SELECT  [SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince] FROM [app].[SyncHistory] WHERE SyncId = CONVERT(UNIQUEIDENTIFIER, %s);

-- lines: newest history, 1 bound
SELECT TOP (5) [SyncId], [SyncedAt], [InsertedCount], [UpdatedCount], [DeletedCount], [Success], [ErrorMessage], [SkippedCount], [WithheldCount], [RejectedCount], [AheadCount], [StartedAt], [CompletedAt], [Attempt], [RunId], [ServiceName], [Notice], [Mode], [StartedBy], [RunNumber], [DriftCount], [VerifiedShare], [VerifiedSince] FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) ORDER BY StartedAt DESC ;

-- lines: is there history, 1 bound
IF OBJECT_ID(N'[app].[SyncHistory]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT SyncId FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) AND Success = 1;

-- lines: create state, 0 bound
CREATE TABLE [app].[SyncState] (TableName NVARCHAR(300) NOT NULL, Name NVARCHAR(100) NOT NULL, Value NVARCHAR(MAX) NOT NULL, PRIMARY KEY (TableName, Name));

-- lines: states, 1 bound
IF OBJECT_ID(N'[app].[SyncState]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT Name, Value FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s);

-- lines: keep state, 3 bound
UPDATE [app].[SyncState] SET Value = CONVERT(NVARCHAR(MAX), %s) WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND Name = CONVERT(NVARCHAR(MAX), %s);

-- lines: keep state (2), 3 bound
INSERT INTO [app].[SyncState] (TableName, Name, Value) VALUES (CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s), CONVERT(NVARCHAR(MAX), %s));

-- lines: forget state, 2 bound
DELETE FROM [app].[SyncState] WHERE TableName = CONVERT(NVARCHAR(MAX), %s) AND Name = CONVERT(NVARCHAR(MAX), %s);

-- lines: restore points, 1 bound
SELECT RunNumber, StartedAt, CompletedAt FROM [app].[SyncHistory] WHERE ServiceName = CONVERT(NVARCHAR(MAX), %s) AND (RunNumber IS NOT NULL AND Success = 1 OR RunNumber IS NULL AND InsertedCount + UpdatedCount + DeletedCount > 0);

-- lines: create undo, 0 bound
CREATE TABLE [app].[Lines_Undo] ([_Seq] BIGINT NOT NULL, [_Op] CHAR(1) NOT NULL, [_SyncId] UNIQUEIDENTIFIER NOT NULL, [Tenant] uniqueidentifier NOT NULL, [Code] varchar(20) NOT NULL, [Version] binary(8) NULL, [SyncedAt] datetime2(7) NULL, PRIMARY KEY NONCLUSTERED ([_Seq], [Tenant], [Code]));

-- lines: look at undo, 0 bound
IF OBJECT_ID(N'[app].[Lines_AsOf]') IS NOT NULL DROP FUNCTION [app].[Lines_AsOf];

-- lines: look at undo (2), 0 bound
CREATE FUNCTION [app].[Lines_AsOf] (@number BIGINT) RETURNS TABLE AS RETURN (SELECT t.[Tenant], t.[Code], t.[Version], t.[SyncedAt] FROM [app].[Lines] t LEFT JOIN (SELECT [Tenant], [Code], MIN([_Seq]) AS [_Seq] FROM [app].[Lines_Undo] WHERE [_Seq] > @number GROUP BY [Tenant], [Code]) f ON t.[Tenant] = f.[Tenant] AND t.[Code] = f.[Code] WHERE f.[_Seq] IS NULL UNION ALL SELECT u.[Tenant], u.[Code], u.[Version], u.[SyncedAt] FROM (SELECT [Tenant], [Code], MIN([_Seq]) AS [_Seq] FROM [app].[Lines_Undo] WHERE [_Seq] > @number GROUP BY [Tenant], [Code]) f JOIN [app].[Lines_Undo] u ON u.[_Seq] = f.[_Seq] AND u.[Tenant] = f.[Tenant] AND u.[Code] = f.[Code] WHERE u.[_Op] <> 'I');

-- lines: look at undo (3), 0 bound
IF OBJECT_ID(N'[app].[Lines_RestorePoints]') IS NOT NULL DROP VIEW [app].[Lines_RestorePoints];

-- lines: look at undo (4), 0 bound
CREATE VIEW [app].[Lines_RestorePoints] AS SELECT h.RunNumber, h.SyncId, h.CompletedAt, h.InsertedCount, h.UpdatedCount, h.DeletedCount, h.Success FROM [app].[SyncHistory] h JOIN [app].[SyncState] s ON s.TableName = N'app.Lines' AND s.Name = N'undo' WHERE h.ServiceName = N'thing' AND h.RunNumber >= CONVERT(BIGINT, JSON_VALUE(s.Value, '$.since')) AND NOT EXISTS (SELECT 1 FROM OPENJSON(s.Value, '$.gaps') WITH (f BIGINT '$[0]', l BIGINT '$[1]') g WHERE h.RunNumber > g.f AND h.RunNumber < g.l);

-- lines: highest entry, 0 bound
IF OBJECT_ID(N'[app].[Lines_Undo]') IS NULL SELECT N'' WHERE 1 = 0 ELSE SELECT MAX([_Seq]) FROM [app].[Lines_Undo];

-- lines: keep for an insert, 1 bound
INSERT INTO [app].[Lines_Undo] ([_Seq], [_Op], [_SyncId], [Tenant], [Code]) SELECT 7, 'I', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), p.k0, p.k1 FROM (SELECT i, CONVERT(uniqueidentifier, k0) AS k0, CONVERT(varchar(20), k1) AS k1 FROM OPENJSON(%s) WITH (i int '$[0]', k0 char(36) '$[1]', k1 nvarchar(max) '$[2]')) p WHERE NOT EXISTS (SELECT 1 FROM [app].[Lines] t WHERE t.[Tenant] = p.k0 AND t.[Code] = p.k1) AND NOT EXISTS (SELECT 1 FROM [app].[Lines_Undo] u WHERE u.[_Seq] = 7 AND u.[Tenant] = p.k0 AND u.[Code] = p.k1);

-- lines: keep for a delete, 1 bound
INSERT INTO [app].[Lines_Undo] ([_Seq], [_Op], [_SyncId], [Tenant], [Code], [Version], [SyncedAt]) SELECT 7, 'D', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), t.[Tenant], t.[Code], t.[Version], t.[SyncedAt] FROM [app].[Lines] t JOIN (SELECT i, CONVERT(uniqueidentifier, k0) AS k0, CONVERT(varchar(20), k1) AS k1 FROM OPENJSON(%s) WITH (i int '$[0]', k0 char(36) '$[1]', k1 nvarchar(max) '$[2]')) p ON t.[Tenant] = p.k0 AND t.[Code] = p.k1 WHERE NOT EXISTS (SELECT 1 FROM [app].[Lines_Undo] u WHERE u.[_Seq] = 7 AND u.[Tenant] = t.[Tenant] AND u.[Code] = t.[Code]);

-- lines: keep what changes, 1 bound
INSERT INTO [app].[Lines_Undo] ([_Seq], [_Op], [_SyncId], [Tenant], [Code], [Version], [SyncedAt]) SELECT 7, 'U', CONVERT(UNIQUEIDENTIFIER, '719fc148-87b0-58f7-a52b-c7fab4f917b7'), t.[Tenant], t.[Code], t.[Version], t.[SyncedAt] FROM [app].[Lines] t JOIN (SELECT CONVERT(uniqueidentifier, c0) AS [Tenant], CONVERT(varchar(20), c1) AS [Code], CONVERT(binary(8), c2, 2) AS [Version] FROM OPENJSON(%s) WITH (c0 char(36) '$[0]', c1 nvarchar(max) '$[1]', c2 varchar(max) '$[2]')) p ON t.[Tenant] = p.[Tenant] AND t.[Code] = p.[Code] AND ((t.[Tenant] <> p.[Tenant] OR t.[Tenant] IS NULL AND p.[Tenant] IS NOT NULL OR t.[Tenant] IS NOT NULL AND p.[Tenant] IS NULL) OR (CONVERT(VARBINARY(MAX), t.[Code]) <> CONVERT(VARBINARY(MAX), p.[Code]) OR DATALENGTH(t.[Code]) <> DATALENGTH(p.[Code]) OR t.[Code] IS NULL AND p.[Code] IS NOT NULL OR t.[Code] IS NOT NULL AND p.[Code] IS NULL) OR (t.[Version] <> p.[Version] OR DATALENGTH(t.[Version]) <> DATALENGTH(p.[Version]) OR t.[Version] IS NULL AND p.[Version] IS NOT NULL OR t.[Version] IS NOT NULL AND p.[Version] IS NULL)) WHERE NOT EXISTS (SELECT 1 FROM [app].[Lines_Undo] u WHERE u.[_Seq] = 7 AND u.[Tenant] = t.[Tenant] AND u.[Code] = t.[Code]);

-- lines: cut, 0 bound
DELETE TOP (1000) u FROM [app].[Lines_Undo] u WHERE u.[_Seq] <= 5;

-- lines: thin, 0 bound
DELETE TOP (1000) u FROM [app].[Lines_Undo] u WHERE u.[_Seq] > 5 AND u.[_Seq] <= 9 AND EXISTS (SELECT 1 FROM (SELECT [Tenant], [Code], MIN([_Seq]) AS [_Seq] FROM [app].[Lines_Undo] WHERE [_Seq] > 5 AND [_Seq] <= 9 GROUP BY [Tenant], [Code]) f WHERE u.[Tenant] = f.[Tenant] AND u.[Code] = f.[Code] AND f.[_Seq] < u.[_Seq]);
